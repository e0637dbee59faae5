"""A default boto3 loop: writes, reads back and lists until a file appears, and reports every error an application would have seen."""

import os
import time

import boto3

from verdict import bucket_name, check, main

UNTIL = os.environ["LOOP_UNTIL"]


@check
def no_error_is_seen():
    s3, bucket = boto3.client("s3"), bucket_name("loop")
    s3.create_bucket(Bucket=bucket)
    open(UNTIL + ".started", "w").close()
    count, slowest = 0, 0.0
    while not os.path.exists(UNTIL):
        start, key = time.monotonic(), f"key-{count % 50}"
        s3.put_object(Bucket=bucket, Key=key, Body=str(count).encode())
        seen = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert seen == str(count).encode(), (key, count, seen)
        assert key in [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        count, slowest = count + 1, max(slowest, time.monotonic() - start)
    assert count > 0
    print(f"{count} rounds, the slowest {slowest:.2f} s", flush=True)


if __name__ == "__main__":
    main()
