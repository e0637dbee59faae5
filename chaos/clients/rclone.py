"""rclone: copy, check by hash, sync, a multipart upload, and a purge."""

import os
import sys
import tempfile

from verdict import CA_FILE, ENDPOINT, ODD_NAMES, REGION, bucket_name, check, main, run, write_file

RCLONE = os.path.join(os.path.dirname(sys.executable), "rclone")
bucket = bucket_name("rclone")
remote = f":s3,provider=Other,env_auth=true,endpoint='{ENDPOINT}',region={REGION}:{bucket}"


def rclone(*arguments):
    trust = ["--ca-cert", CA_FILE] if CA_FILE else []
    return run(RCLONE, "--config", os.devnull, "--retries", "1", *trust, *arguments)


@check
def a_tree_is_copied_checked_by_hash_and_read_back():
    rclone("mkdir", remote)
    with tempfile.TemporaryDirectory() as folder:
        for name in [name for name in ODD_NAMES if "//" not in name and len(name) < 200]:
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_file(path, name, 3000)
        for size in [0, 1, 1 << 20, 9 << 20]:
            write_file(os.path.join(folder, f"size-{size}"), size, size)
        rclone("copy", folder, f"{remote}/tree")
        rclone("check", "--download", folder, f"{remote}/tree")
        rclone("check", folder, f"{remote}/tree")
        with tempfile.TemporaryDirectory() as back:
            rclone("copy", f"{remote}/tree", back)
            rclone("check", back, f"{remote}/tree")


@check
def a_large_file_goes_up_in_parts():
    with tempfile.TemporaryDirectory() as folder:
        write_file(os.path.join(folder, "large"), "large", 60 << 20)
        rclone("copy", "--s3-upload-cutoff", "10M", "--s3-chunk-size", "8M", folder, f"{remote}/parts")
        rclone("check", "--download", folder, f"{remote}/parts")


@check
def a_sync_removes_what_is_gone():
    with tempfile.TemporaryDirectory() as folder:
        write_file(os.path.join(folder, "one"), 1, 10)
        rclone("sync", folder, f"{remote}/tree")
    assert rclone("lsf", "--recursive", f"{remote}/tree").split() == ["one"]


@check
def a_bucket_is_purged():
    rclone("purge", remote)
    try:
        rclone("lsf", remote)
    except AssertionError as error:
        assert "not found" in str(error), error
    else:
        raise AssertionError("the bucket is still there")


if __name__ == "__main__":
    main()
