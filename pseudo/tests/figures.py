"""Figures by pycanon and by pandas, for tables and levels that a test names.

Reads a JSON list of cases from standard input: `table` (CSV or Parquet), `quasi`, `sensitive`, `numeric` (whether the sensitive
column holds numbers), `hierarchies` (a folder) and `levels`. Prints a JSON list with one object of figures per case.
"""

import json
import os
import sys

import numpy as np
import pandas as pd
from pycanon import anonymity


def generalised(case):
    """The table with every quasi-identifier replaced by what its hierarchy has at its level."""
    table = case["table"]
    data = pd.read_parquet(table) if table.endswith(".parquet") else pd.read_csv(table, dtype=str, keep_default_na=False)
    for column in case["quasi"]:
        data[column] = data[column].astype(str)
    for column, level in case["levels"].items():
        path = os.path.join(case["hierarchies"], f"{column}.csv")
        rows = pd.read_csv(path, sep=";", header=None, dtype=str, keep_default_na=False)
        data[column] = data[column].map(dict(zip(rows[0], rows[level])))
        assert data[column].notna().all()
    sensitive = case["sensitive"]
    data[sensitive] = pd.to_numeric(data[sensitive]) if case["numeric"] else data[sensitive].astype(str)
    return data


def figures(case):
    data = generalised(case)
    quasi, sensitive = case["quasi"], [case["sensitive"]]
    sizes = data.groupby(quasi).size().to_numpy()
    found = {
        "records": len(data),
        "classes": len(sizes),
        "k": anonymity.k_anonymity(data, quasi),
        "l_distinct": anonymity.l_diversity(data, quasi, sensitive),
        "l_entropy_floor": anonymity.entropy_l_diversity(data, quasi, sensitive),
        "t": anonymity.t_closeness(data, quasi, sensitive),
        "alpha": anonymity.alpha_k_anonymity(data, quasi, sensitive)[0],
        "beta": anonymity.basic_beta_likeness(data, quasi, sensitive),
        "delta": anonymity.delta_disclosure(data, quasi, sensitive),
        "unique_share": (sizes == 1).sum() / len(data),
        "average_risk": len(sizes) / len(data),
        "highest_risk": 1 / sizes.min(),
        "discernibility": (sizes.astype(object) ** 2).sum(),
    }
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in found.items()}


print(json.dumps([figures(case) for case in json.load(sys.stdin)]))
