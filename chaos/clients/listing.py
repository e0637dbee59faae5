"""boto3 lists a bucket of very many objects: every name once, in order, by both listing versions, and grouped.

The objects are written beforehand, with the names that `names` gives; `LISTING_BUCKET` and `LISTING_COUNT` say where and how many.
"""

import os

import boto3

from verdict import check, main

bucket = os.environ["LISTING_BUCKET"]
names = [f"{number % 100:02}/{number:06}" for number in range(int(os.environ["LISTING_COUNT"]))]
s3 = boto3.client("s3")


@check
def every_object_is_listed_once_and_in_order():
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket)
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(names), operation


@check
def the_folders_are_grouped():
    grouped = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [found["Prefix"] for found in grouped["CommonPrefixes"]] == [f"{folder:02}/" for folder in range(100)]


if __name__ == "__main__":
    main()
