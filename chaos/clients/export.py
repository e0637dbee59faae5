"""A released export, read as analysts do: pyarrow and DuckDB over S3. Prints one JSON object."""

import glob
import json
import os
import re
import sys
from urllib.parse import urlparse

import duckdb
import pyarrow.dataset as ds
from pyarrow import fs

place = sys.argv[1]
endpoint = urlparse(os.environ["AWS_ENDPOINT_URL"])
access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
s3 = fs.S3FileSystem(
    access_key=access, secret_key=secret, region=os.environ["AWS_REGION"],
    endpoint_override=endpoint.netloc, scheme=endpoint.scheme,
)
table = ds.dataset(f"{place}/data", filesystem=s3, format="parquet").to_table()
rows = table.to_pylist()

database = duckdb.connect()
root = os.path.dirname(duckdb.__file__) + "/../duckdb_ext"
extension = glob.glob(f"{root}/extensions/*/*/httpfs.duckdb_extension")[0]
database.execute(f"LOAD '{extension}'")
for name, value in {
    "s3_endpoint": endpoint.netloc, "s3_use_ssl": "false", "s3_url_style": "path",
    "s3_access_key_id": access, "s3_secret_access_key": secret, "s3_region": os.environ["AWS_REGION"],
}.items():
    database.execute(f"SET {name} = '{value}'")
with s3.open_input_stream(f"{place}/queries.sql") as stream:
    queries = stream.read().decode().replace("'data/", f"'s3://{place}/data/")
results = [database.execute(query).fetchall() for query in re.sub(r"--.*\n", "", queries).split(";") if query.strip()]

print(json.dumps({
    "pages": sorted(row["pages"] for row in rows),
    "in_order": [row["pages"] for row in rows] == sorted(row["pages"] for row in rows),
    "tokens": sorted({row["user"]["email"] for row in rows}),
    "duckdb_rows": results[0][0][0],
    "queries": len(results),
}))
