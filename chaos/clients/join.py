"""Released exports, joined on their tokens as analysts do, by pyarrow over S3. Prints one JSON object."""

import json
import os
import sys
from urllib.parse import urlparse

import pyarrow.dataset as ds
from pyarrow import fs

endpoint = urlparse(os.environ["AWS_ENDPOINT_URL"])
s3 = fs.S3FileSystem(
    access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    region=os.environ["AWS_REGION"], endpoint_override=endpoint.netloc, scheme=endpoint.scheme,
)


def rows(place):
    table = ds.dataset(f"{place}/data", filesystem=s3, format="parquet").to_table()
    return [(row["user"]["email"], row["pages"]) for row in table.to_pylist()]


one, other = (rows(place) for place in sys.argv[1:3])
by_token = {}
for token, pages in other:
    by_token.setdefault(token, []).append(pages)
print(json.dumps({
    "joined": sorted([mine, theirs] for token, mine in one for theirs in by_token.get(token, [])),
    "order": [pages for _, pages in one],
    "versions": sorted({token.split("_")[0] for token, _ in one}),
}))
