"""boto3 with its default integrity settings: the client most applications use, in all that this store promises."""

import concurrent.futures
import io
import os
import tempfile
import time
import urllib.request
import ssl

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from verdict import CA_FILE, IS_TLS, ODD_NAMES, bucket_name, check, content, file_sha256, main, write_file

MIB = 1 << 20
s3 = boto3.client("s3", config=Config(max_pool_connections=32))
shared = bucket_name("boto")


def expect_error(code, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except ClientError as error:
        seen = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert code in seen, f"expected {code}, got {seen}"
        return error.response
    raise AssertionError(f"expected {code}, and it succeeded")


def read(bucket, key, **keywords):
    return s3.get_object(Bucket=bucket, Key=key, **keywords)["Body"].read()


@check
def buckets_are_made_found_located_and_removed():
    s3.create_bucket(Bucket=shared)
    s3.head_bucket(Bucket=shared)
    assert shared in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.get_bucket_location(Bucket=shared)
    other = bucket_name("gone")
    s3.create_bucket(Bucket=other)
    s3.put_object(Bucket=other, Key="key", Body=b"x")
    expect_error("BucketNotEmpty", s3.delete_bucket, Bucket=other)
    s3.delete_object(Bucket=other, Key="key")
    s3.delete_bucket(Bucket=other)
    expect_error(404, s3.head_bucket, Bucket=other)
    expect_error("NoSuchBucket", s3.list_objects_v2, Bucket=other)


@check
def objects_of_every_size_come_back_equal():
    for size in [0, 1, 4095, 4096, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 3 * MIB + 17, 7 * MIB]:
        body = content(size, size)
        put = s3.put_object(Bucket=shared, Key=f"size/{size}", Body=body)
        got = s3.get_object(Bucket=shared, Key=f"size/{size}")
        assert got["Body"].read() == body, size
        assert got["ETag"] == put["ETag"] and got["ContentLength"] == size
        assert s3.head_object(Bucket=shared, Key=f"size/{size}")["ContentLength"] == size


@(check if IS_TLS else lambda function: function)  # once is enough for the time it takes
def a_gibibyte_goes_up_in_parts_and_comes_back_equal():
    config = TransferConfig(multipart_chunksize=32 * MIB, max_concurrency=4)
    with tempfile.TemporaryDirectory() as folder:
        up, down = os.path.join(folder, "up"), os.path.join(folder, "down")
        digest = write_file(up, "gibibyte", 1 << 30)
        s3.upload_file(up, shared, "gibibyte", Config=config)
        os.remove(up)
        s3.download_file(shared, "gibibyte", down, Config=config)
        assert file_sha256(down) == digest
    s3.delete_object(Bucket=shared, Key="gibibyte")


@check
def odd_names_are_kept_listed_and_deleted():
    bucket = bucket_name("odd")
    s3.create_bucket(Bucket=bucket)
    for name in ODD_NAMES:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    for name in ODD_NAMES:
        assert read(bucket, name) == name.encode(), name
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(ODD_NAMES, key=str.encode), set(listed) ^ set(ODD_NAMES)
    copied = ODD_NAMES[8]
    s3.copy_object(Bucket=bucket, Key="copy of " + copied, CopySource={"Bucket": bucket, "Key": copied})
    assert read(bucket, "copy of " + copied) == copied.encode()
    names = [{"Key": name} for name in ODD_NAMES + ["copy of " + copied]]
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": names})
    assert len(deleted["Deleted"]) == len(names) and not deleted.get("Errors"), deleted
    s3.delete_bucket(Bucket=bucket)
    expect_error("KeyTooLongError", s3.put_object, Bucket=shared, Key="k" * 1025, Body=b"")


@check
def metadata_and_headers_come_back():
    given = {"ContentType": "text/x-test", "CacheControl": "no-cache", "ContentDisposition": "attachment",
             "ContentLanguage": "de", "ContentEncoding": "identity", "Metadata": {"owner": "someone", "purpose": "a test"}}
    s3.put_object(Bucket=shared, Key="meta", Body=b"x", **given)
    for answer in (s3.head_object(Bucket=shared, Key="meta"), s3.get_object(Bucket=shared, Key="meta")):
        for name, value in given.items():
            assert answer.get(name) == value, (name, answer.get(name))
    answer = s3.get_object(Bucket=shared, Key="meta", ResponseContentType="text/plain", ResponseCacheControl="max-age=1")
    assert (answer["ContentType"], answer["CacheControl"]) == ("text/plain", "max-age=1")


@check
def ranges_return_exactly_what_was_asked():
    body = content("ranges", 3 * MIB + 123)
    s3.put_object(Bucket=shared, Key="ranges", Body=body)
    for asked, want in [("bytes=0-0", body[:1]), ("bytes=5-10", body[5:11]), (f"bytes={MIB - 1}-{MIB}", body[MIB - 1:MIB + 1]),
                        ("bytes=-7", body[-7:]), (f"bytes={3 * MIB}-", body[3 * MIB:]), ("bytes=100-99999999", body[100:])]:
        answer = s3.get_object(Bucket=shared, Key="ranges", Range=asked)
        assert answer["Body"].read() == want, asked
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    expect_error("InvalidRange", s3.get_object, Bucket=shared, Key="ranges", Range="bytes=99999999-")


@check
def conditions_are_judged():
    first = s3.put_object(Bucket=shared, Key="condition", Body=b"one", IfNoneMatch="*")["ETag"]
    expect_error("PreconditionFailed", s3.put_object, Bucket=shared, Key="condition", Body=b"two", IfNoneMatch="*")
    second = s3.put_object(Bucket=shared, Key="condition", Body=b"two", IfMatch=first)["ETag"]
    expect_error("PreconditionFailed", s3.put_object, Bucket=shared, Key="condition", Body=b"three", IfMatch=first)
    expect_error(404, s3.put_object, Bucket=shared, Key="condition-absent", Body=b"x", IfMatch=first)
    assert read(shared, "condition", IfMatch=second) == b"two"
    expect_error(304, s3.get_object, Bucket=shared, Key="condition", IfNoneMatch=second)
    expect_error("PreconditionFailed", s3.get_object, Bucket=shared, Key="condition", IfMatch=first)
    expect_error(412, s3.head_object, Bucket=shared, Key="condition", IfMatch=first)
    source = {"Bucket": shared, "Key": "condition"}
    expect_error("PreconditionFailed", s3.copy_object, Bucket=shared, Key="c2", CopySource=source, CopySourceIfMatch=first)
    s3.copy_object(Bucket=shared, Key="c2", CopySource=source, CopySourceIfMatch=second)


@check
def one_of_many_racing_creations_wins():
    def create(number):
        try:
            s3.put_object(Bucket=shared, Key="race", Body=str(number).encode(), IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(16)) if number is not None]
    assert len(winners) == 1 and read(shared, "race") == str(winners[0]).encode(), winners


@check
def versions_are_kept_and_markers_hide():
    bucket = bucket_name("versions")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    one = s3.put_object(Bucket=bucket, Key="key", Body=b"one")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="key", Body=b"two")["VersionId"]
    assert read(bucket, "key") == b"two" and read(bucket, "key", VersionId=one) == b"one"
    assert read(bucket, "key", VersionId="null") == b"before"
    marker = s3.delete_object(Bucket=bucket, Key="key")
    assert marker["DeleteMarker"]
    expect_error("NoSuchKey", s3.get_object, Bucket=bucket, Key="key")
    expect_error(405, s3.get_object, Bucket=bucket, Key="key", VersionId=marker["VersionId"])
    listed = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in listed["Versions"]] == [two, one, "null"], listed
    assert [m["VersionId"] for m in listed["DeleteMarkers"]] == [marker["VersionId"]]
    assert listed["DeleteMarkers"][0]["IsLatest"] and not listed["Versions"][0]["IsLatest"]
    s3.delete_object(Bucket=bucket, Key="key", VersionId=marker["VersionId"])
    assert read(bucket, "key") == b"two"
    s3.delete_object(Bucket=bucket, Key="key", VersionId=two)
    assert read(bucket, "key") == b"one"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="key", Body=b"after")
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert sorted(v["VersionId"] for v in listed) == sorted([one, "null"]) and read(bucket, "key", VersionId="null") == b"after"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "key", "VersionId": v["VersionId"]} for v in listed]})
    s3.delete_bucket(Bucket=bucket)


@check
def presigned_urls_read_and_write():
    context = ssl.create_default_context(cafile=CA_FILE) if IS_TLS else None
    url = s3.generate_presigned_url("put_object", Params={"Bucket": shared, "Key": "presigned +ä"}, ExpiresIn=60)
    assert "X-Amz-Signature" in url, url
    urllib.request.urlopen(urllib.request.Request(url, data=b"by link", method="PUT"), context=context).read()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": shared, "Key": "presigned +ä"}, ExpiresIn=60)
    assert urllib.request.urlopen(url, context=context).read() == b"by link"
    for broken in (url[:-4] + "0000", url.replace("presigned", "other")):
        try:
            urllib.request.urlopen(broken, context=context)
        except urllib.error.HTTPError as error:
            assert error.code == 403, error.code
        else:
            raise AssertionError("a changed link was accepted")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": shared, "Key": "presigned +ä"}, ExpiresIn=1)
    time.sleep(2.5)
    try:
        urllib.request.urlopen(url, context=context)
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code
    else:
        raise AssertionError("an expired link was accepted")


@check
def every_checksum_is_checked_and_returned():
    body = content("checksums", 100_000)
    for name in ["CRC32", "SHA1", "SHA256", *(["CRC32C", "CRC64NVME"] if has_crt() else [])]:
        put = s3.put_object(Bucket=shared, Key=f"sum/{name}", Body=body, ChecksumAlgorithm=name)
        head = s3.head_object(Bucket=shared, Key=f"sum/{name}", ChecksumMode="ENABLED")
        assert put[f"Checksum{name}"] == head[f"Checksum{name}"], name
        assert read(shared, f"sum/{name}", ChecksumMode="ENABLED") == body
    for name, value in [("CRC32C", "AAAAAA=="), ("CRC64NVME", "AAAAAAAAAAA="), ("SHA256", "A" * 43 + "=")]:
        response = expect_error(400, s3.put_object, Bucket=shared, Key="sum/wrong", Body=body, **{f"Checksum{name}": value})
        assert response["Error"]["Code"] in ("BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest"), response
    expect_error(404, s3.head_object, Bucket=shared, Key="sum/wrong")


def has_crt():
    try:
        import awscrt  # noqa: F401
    except ImportError:
        return False
    return True


@check
def parts_make_an_object_and_can_be_listed_and_aborted():
    key, body = "parts", content("parts", 11 * MIB)
    pieces = [body[:5 * MIB], body[5 * MIB:10 * MIB], body[10 * MIB:]]
    for algorithm in ["CRC32", "SHA256"]:
        upload = s3.create_multipart_upload(Bucket=shared, Key=key, ChecksumAlgorithm=algorithm, Metadata={"a": "b"})["UploadId"]
        assert upload in [found["UploadId"] for found in s3.list_multipart_uploads(Bucket=shared).get("Uploads", [])]
        parts = []
        for number, piece in enumerate(pieces, 1):
            made = s3.upload_part(Bucket=shared, Key=key, UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm=algorithm)
            parts.append({"PartNumber": number, "ETag": made["ETag"], f"Checksum{algorithm}": made[f"Checksum{algorithm}"]})
        listed = s3.list_parts(Bucket=shared, Key=key, UploadId=upload)["Parts"]
        assert [part["Size"] for part in listed] == [len(piece) for piece in pieces]
        done = s3.complete_multipart_upload(Bucket=shared, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        assert done["ETag"].endswith('-3"') and done[f"Checksum{algorithm}"].endswith("-3"), done
        assert read(shared, key) == body
        assert read(shared, key, PartNumber=2) == pieces[1]
        assert s3.head_object(Bucket=shared, Key=key)["Metadata"] == {"a": "b"}
    upload = s3.create_multipart_upload(Bucket=shared, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=shared, Key="aborted", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=shared, Key="aborted", UploadId=upload)
    expect_error("NoSuchUpload", s3.list_parts, Bucket=shared, Key="aborted", UploadId=upload)
    expect_error(404, s3.head_object, Bucket=shared, Key="aborted")


@check
def wrong_completions_are_refused():
    upload = s3.create_multipart_upload(Bucket=shared, Key="small")["UploadId"]
    parts = []
    for number in (1, 2):
        made = s3.upload_part(Bucket=shared, Key="small", UploadId=upload, PartNumber=number, Body=b"too small")
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    complete = lambda parts: s3.complete_multipart_upload(Bucket=shared, Key="small", UploadId=upload, MultipartUpload={"Parts": parts})
    expect_error("EntityTooSmall", complete, parts)
    expect_error("InvalidPartOrder", complete, parts[::-1])
    expect_error("InvalidPart", complete, [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}])
    s3.abort_multipart_upload(Bucket=shared, Key="small", UploadId=upload)


@check
def copies_are_whole_and_may_replace_metadata():
    body = content("copy", 6 * MIB)
    s3.put_object(Bucket=shared, Key="source", Body=body, Metadata={"old": "1"}, ContentType="text/a")
    source = {"Bucket": shared, "Key": "source"}
    s3.copy_object(Bucket=shared, Key="kept", CopySource=source)
    s3.copy_object(Bucket=shared, Key="replaced", CopySource=source, MetadataDirective="REPLACE", Metadata={"new": "2"})
    assert read(shared, "kept") == body == read(shared, "replaced")
    assert s3.head_object(Bucket=shared, Key="kept")["Metadata"] == {"old": "1"}
    assert s3.head_object(Bucket=shared, Key="replaced")["Metadata"] == {"new": "2"}
    expect_error("NoSuchKey", s3.copy_object, Bucket=shared, Key="x", CopySource={"Bucket": shared, "Key": "absent"})
    expect_error("InvalidRequest", s3.copy_object, Bucket=shared, Key="source", CopySource=source)
    upload = s3.create_multipart_upload(Bucket=shared, Key="by-parts")["UploadId"]
    parts = []
    for number, span in [(1, f"bytes=0-{5 * MIB - 1}"), (2, f"bytes={5 * MIB}-{6 * MIB - 1}")]:
        made = s3.upload_part_copy(Bucket=shared, Key="by-parts", UploadId=upload, PartNumber=number, CopySource=source, CopySourceRange=span)
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(Bucket=shared, Key="by-parts", UploadId=upload, MultipartUpload={"Parts": parts})
    assert read(shared, "by-parts") == body


@check
def listings_page_group_and_start_where_asked():
    bucket = bucket_name("list")
    s3.create_bucket(Bucket=bucket)
    names = sorted([f"a/{n:03}" for n in range(40)] + [f"b/{n:03}" for n in range(3)] + ["c", "d e", "ä"], key=str.encode)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=bucket, Key=name, Body=b""), names))
    for operation, marker in [("list_objects_v2", "StartAfter"), ("list_objects", "Marker")]:
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
        assert [entry["Key"] for page in pages for entry in page.get("Contents", [])] == names, operation
        grouped = getattr(s3, operation)(Bucket=bucket, Delimiter="/")
        assert [p["Prefix"] for p in grouped["CommonPrefixes"]] == ["a/", "b/"], operation
        assert [entry["Key"] for entry in grouped["Contents"]] == ["c", "d e", "ä"]
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1})
        seen = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
        assert seen == ["a/", "b/"], (operation, seen)
        after = getattr(s3, operation)(Bucket=bucket, **{marker: "b/001"})["Contents"]
        assert [entry["Key"] for entry in after] == ["b/002", "c", "d e", "ä"]
        assert len(getattr(s3, operation)(Bucket=bucket, Prefix="a/01")["Contents"]) == 10
    none = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert none["KeyCount"] == 0 and not none["IsTruncated"]


@check
def batch_delete_removes_a_thousand_and_reports():
    names = [f"batch/{n}" for n in range(1000)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=shared, Key=name, Body=b"x"), names[:100]))
    answer = s3.delete_objects(Bucket=shared, Delete={"Objects": [{"Key": name} for name in names]})
    assert len(answer["Deleted"]) == 1000 and not answer.get("Errors")
    assert s3.list_objects_v2(Bucket=shared, Prefix="batch/")["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=shared, Delete={"Objects": [{"Key": "batch/0"}], "Quiet": True})
    assert not quiet.get("Deleted")


@check
def wrong_credentials_are_refused():
    wrong_secret = boto3.client("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40)
    expect_error("SignatureDoesNotMatch", wrong_secret.list_buckets)
    wrong_key = boto3.client("s3", aws_access_key_id="AKIANOSUCHKEY0000000", aws_secret_access_key="x" * 40)
    expect_error("InvalidAccessKeyId", wrong_key.list_buckets)


@check
def streams_of_unknown_length_are_taken():
    body = content("stream", 9 * MIB)
    s3.upload_fileobj(io.BytesIO(body), shared, "stream", Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB))
    out = io.BytesIO()
    s3.download_fileobj(shared, "stream", out)
    assert out.getvalue() == body


if __name__ == "__main__":
    main()
