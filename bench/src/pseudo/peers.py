"""One program of others over one file: `peers.py WHAT FILE COLUMN,... [FOLDER OF HIERARCHIES]`.

Prints JSON: the records it treated and its processor time, from opening the file to the last byte or figure. Starting Python and
importing are not counted.
"""

import json
import os
import sys
import time


def presidio(path, columns, _):
    """Each named field through the operator that hashes with SHA-256 and a salt, the record rewritten as it was otherwise."""
    from presidio_anonymizer import AnonymizerEngine
    from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

    engine = AnonymizerEngine()
    operators = {"ID": OperatorConfig("hash", {"hash_type": "sha256", "salt": b"sixteen bytes and more"})}
    places = [column.split(".") for column in columns]

    def work():
        records = 0
        with open(path, encoding="utf-8") as source, open(path + ".presidio", "w", encoding="utf-8") as target:
            for line in source:
                record = json.loads(line)
                for *above, last in places:
                    inner = record
                    for name in above:
                        inner = inner[name]
                    found = [RecognizerResult("ID", 0, len(inner[last]), 1.0)]
                    inner[last] = engine.anonymize(text=inner[last], analyzer_results=found, operators=operators).text
                target.write(json.dumps(record, ensure_ascii=False) + "\n")
                records += 1
        return records

    return work


def dapla(path, columns, _):
    """Each named field blanked: all else is done by a service elsewhere."""
    # it wants to know where the service is, and does not ask it
    os.environ["PSEUDO_SERVICE_URL"] = "http://127.0.0.1:9"
    os.environ["PSEUDO_SERVICE_AUTH_TOKEN"] = "none"
    import polars
    from dapla_pseudo import Pseudonymize
    from dapla_pseudo.constants import PseudoFunctionTypes
    from dapla_pseudo.v1.models.core import PseudoFunction, RedactKeywordArgs

    blank = PseudoFunction(function_type=PseudoFunctionTypes.REDACT, kwargs=RedactKeywordArgs(placeholder="*"))

    def work():
        table = polars.read_ndjson(path)
        for name, kind in table.schema.items():
            if kind == polars.Struct:
                table = table.unnest(name)
        fields = [column.split(".")[-1] for column in columns]
        done = Pseudonymize.from_polars(table).on_fields(*fields).with_custom_function(blank).run().to_polars()
        done.write_ndjson(path + ".dapla")
        return len(done)

    return work


def pycanon(path, columns, _):
    """k of a table."""
    import pandas
    from pycanon import anonymity

    def work():
        table = pandas.read_csv(path)
        anonymity.k_anonymity(table, columns)
        return len(table)

    return work


def anjana(path, columns, folder):
    """A table made k-anonymous with k = 5 and at most 5 % of its records left out. Reading hierarchies is not counted."""
    import pandas
    from anjana.anonymity import k_anonymity

    table = pandas.read_csv(path, dtype=str)
    hierarchies = {}
    for column in columns:
        rows = pandas.read_csv(os.path.join(folder, column + ".csv"), sep=";", header=None, dtype=str)
        hierarchies[column] = {
            level: table[column].map(dict(zip(rows[0], rows[level]))).values for level in range(rows.shape[1])
        }

    def work():
        table = pandas.read_csv(path, dtype=str)
        k_anonymity(table, ["record"], columns, 5, 5, hierarchies)
        return len(table)

    return work


def main():
    what, path, columns = sys.argv[1:4]
    work = globals()[what](path, columns.split(","), sys.argv[4] if len(sys.argv) > 4 else None)
    begin = time.process_time()
    records = work()
    print(json.dumps({"records": records, "cpu_s": time.process_time() - begin}))


main()
