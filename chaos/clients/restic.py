"""restic: a repository is made, backed up into twice, checked with all its data, pruned and restored."""

import os
import shutil
import tempfile

from verdict import CA_FILE, ENDPOINT, ODD_NAMES, bucket_name, check, file_sha256, main, run, write_file

os.environ["RESTIC_REPOSITORY"] = f"s3:{ENDPOINT}/{bucket_name('restic')}/repository"
os.environ["RESTIC_PASSWORD"] = "a password of a test repository"
os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]


def restic(*arguments):
    trust = ["--cacert", CA_FILE] if CA_FILE else []
    return run("restic", "--no-cache", *trust, *arguments)


@check
def a_backup_is_checked_pruned_and_restored():
    with tempfile.TemporaryDirectory() as folder:
        data, back = os.path.join(folder, "data"), os.path.join(folder, "back")
        os.makedirs(data)
        names = [name for name in ODD_NAMES if "/" not in name and len(name) < 200]
        digests = {name: write_file(os.path.join(data, name), name, 20_000) for name in names}
        digests["large"] = write_file(os.path.join(data, "large"), "large", 50 << 20)
        restic("init")
        restic("backup", data)
        digests["more"] = write_file(os.path.join(data, "more"), "more", 5 << 20)
        restic("backup", data)
        restic("check", "--read-data")
        restic("forget", "--keep-last", "1", "--prune")
        restic("check", "--read-data")
        restic("restore", "latest", "--target", back)
        restored = back + data
        assert {name: file_sha256(os.path.join(restored, name)) for name in digests} == digests
        shutil.rmtree(back)


if __name__ == "__main__":
    main()
