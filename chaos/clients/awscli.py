"""The AWS command line: copy, sync, list, presign, remove, and its multipart path."""

import json
import os
import sys
import tempfile

from verdict import ODD_NAMES, bucket_name, check, file_sha256, main, run, write_file

AWS = os.path.join(os.path.dirname(sys.executable), "aws")
bucket = bucket_name("awscli")


def aws(*arguments):
    return run(sys.executable, AWS, *arguments)


@check
def a_bucket_is_made_and_listed():
    aws("s3", "mb", f"s3://{bucket}")
    assert bucket in aws("s3", "ls")


@check
def files_of_all_sizes_are_copied_there_and_back():
    with tempfile.TemporaryDirectory() as folder:
        for size in [0, 1, 5_000_000, 40 << 20]:
            up, down = os.path.join(folder, "up"), os.path.join(folder, "down")
            digest = write_file(up, size, size)
            aws("s3", "cp", up, f"s3://{bucket}/size/{size}")
            aws("s3", "cp", f"s3://{bucket}/size/{size}", down)
            assert file_sha256(down) == digest, size


@check
def a_folder_is_synced_there_and_back():
    with tempfile.TemporaryDirectory() as folder:
        up, down = os.path.join(folder, "up"), os.path.join(folder, "down")
        os.makedirs(os.path.join(up, "deep"))
        names = [name for name in ODD_NAMES if "/" not in name and len(name) < 200 and "\\" not in name]
        digests = {name: write_file(os.path.join(up, "deep", name), name, 1000) for name in names}
        aws("s3", "sync", up, f"s3://{bucket}/sync")
        aws("s3", "sync", f"s3://{bucket}/sync", down)
        assert {name: file_sha256(os.path.join(down, "deep", name)) for name in names} == digests
        os.remove(os.path.join(up, "deep", names[0]))
        aws("s3", "sync", "--delete", up, f"s3://{bucket}/sync")
        listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", bucket, "--prefix", "sync/", "--output", "json"))
        assert len(listed["Contents"]) == len(names) - 1


@check
def objects_are_moved_and_removed():
    aws("s3", "mv", f"s3://{bucket}/size/1", f"s3://{bucket}/moved")
    assert "moved" in aws("s3", "ls", f"s3://{bucket}/")
    aws("s3", "rm", "--recursive", f"s3://{bucket}/")
    aws("s3", "rb", f"s3://{bucket}")
    assert bucket not in aws("s3", "ls")


if __name__ == "__main__":
    main()
