"""Shared by the client scripts: runs named checks one after another and prints one JSON verdict on the last line.

A script passes when every check passed and at least one ran. The endpoint, credentials and certificate authority come
from the usual AWS environment variables, as a user would set them.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
import uuid

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]
CA_FILE = os.environ.get("AWS_CA_BUNDLE")
IS_TLS = ENDPOINT.startswith("https://")
# Names that clients, shells and URL encoders get wrong; the last is as long as S3 allows: 1,024 bytes of UTF-8.
ODD_NAMES = [
    "plain",
    "with space",
    " leading and trailing ",
    "plus+plus",
    "percent%2Fencoded",
    "percent%",
    "tilde~dot.dash-under_",
    "quotes'\"and&amp;<tag>",
    "question?mark=1&two",
    "hash#tag;semi,comma:colon@at",
    "brackets[0]{1}(2)!*$",
    "back\\slash",
    "umlaut-äöüß",
    "japanese-日本語",
    "emoji-🗝️",
    "combining-e\u0301",
    "deep/er/than/one/folder",
    "folder//empty",
    "k" * 1021 + "ä" + "z",
]
assert len(ODD_NAMES[-1].encode()) == 1024

checks = []


def check(function):
    """Registers a function as a check; its name is the sentence that the verdict shows."""
    checks.append(function)
    return function


def bucket_name(prefix):
    """A name that no other check uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def content(seed, size):
    """Bytes that repeat from the seed and do not compress."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def write_file(path, seed, size):
    """Writes such bytes to a file, block by block, and returns their SHA-256."""
    digest, block_bytes = hashlib.sha256(), 8 << 20
    block = content(seed, block_bytes)
    with open(path, "wb") as file:
        for number in range(0, size, block_bytes):
            piece = number.to_bytes(8, "little") + block[8:]
            piece = piece[: min(block_bytes, size - number)]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(*command, **options):
    """Runs a program to its end and returns what it printed; what it said is part of the failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def main():
    """Runs the checks named on the command line, or all, and prints the verdict."""
    wanted = sys.argv[1:]
    passed, failed, timings = [], {}, {}
    for function in checks:
        if wanted and function.__name__ not in wanted:
            continue
        start = time.monotonic()
        try:
            function()
            passed.append(function.__name__)
        except Exception:
            failed[function.__name__] = traceback.format_exc(limit=-4)[-3000:]
        timings[function.__name__] = round(time.monotonic() - start, 2)
        print(f"{function.__name__}: {'failed' if function.__name__ in failed else 'ok'}", file=sys.stderr, flush=True)
    print(json.dumps({"endpoint": ENDPOINT, "passed": passed, "failed": failed, "seconds": timings}))
    sys.exit(1 if failed or not passed else 0)
