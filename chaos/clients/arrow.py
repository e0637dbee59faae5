"""pyarrow's S3FileSystem: files, folders, and a partitioned Parquet dataset written and queried."""

import os
from urllib.parse import urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from verdict import CA_FILE, ENDPOINT, REGION, bucket_name, check, content, main

endpoint = urlparse(ENDPOINT)
trust = {"tls_ca_file_path": CA_FILE} if CA_FILE else {}
s3 = fs.S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"], region=REGION,
    endpoint_override=endpoint.netloc, scheme=endpoint.scheme, allow_bucket_creation=True, allow_bucket_deletion=True, **trust,
)
bucket = bucket_name("arrow")


@check
def files_of_all_sizes_come_back_equal():
    s3.create_dir(bucket)
    for size in [0, 1, 70_000, 23 << 20]:
        body = content(size, size)
        with s3.open_output_stream(f"{bucket}/size-{size}") as stream:
            stream.write(body)
        with s3.open_input_stream(f"{bucket}/size-{size}") as stream:
            assert stream.read() == body, size
    with s3.open_input_file(f"{bucket}/size-{23 << 20}") as file:
        file.seek(7_000_000)
        assert file.read(1000) == body[7_000_000:7_001_000]


@check
def a_partitioned_dataset_is_written_and_queried():
    table = pa.table({"day": [n % 4 for n in range(50_000)], "value": list(range(50_000))})
    pq.write_to_dataset(table, f"{bucket}/data", partition_cols=["day"], filesystem=s3)
    back = ds.dataset(f"{bucket}/data", filesystem=s3, partitioning="hive")
    assert back.count_rows() == 50_000
    picked = back.to_table(filter=(pc.field("day") == 3) & (pc.field("value") < 100))
    assert sorted(picked["value"].to_pylist()) == list(range(3, 100, 4))


@check
def files_are_found_moved_copied_and_deleted():
    infos = s3.get_file_info(fs.FileSelector(f"{bucket}/data", recursive=True))
    assert len([info for info in infos if info.is_file]) >= 4
    s3.copy_file(f"{bucket}/size-1", f"{bucket}/copy")
    s3.move(f"{bucket}/copy", f"{bucket}/moved")
    assert s3.get_file_info(f"{bucket}/moved").size == 1
    assert s3.get_file_info(f"{bucket}/copy").type == fs.FileType.NotFound
    s3.delete_dir(bucket)
    assert s3.get_file_info(bucket).type == fs.FileType.NotFound


if __name__ == "__main__":
    main()
