"""Runs in Evidently's own environment: judges two Parquet files by its defaults and prints what it says as JSON.

Usage: python benchmarks/evidently_judge.py PAIR.json, a list of [reference, current] paths. Imports nothing of rayloop.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found,unused-ignore]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found,unused-ignore]


def judge(reference_path: str, current_path: str) -> dict[str, Any]:
    """The preset's verdict on each column, its score, and the share of drifted columns."""
    reference, current = pd.read_parquet(reference_path), pd.read_parquet(current_path)
    began_s = time.perf_counter()
    datasets = [Dataset.from_pandas(frame, data_definition=DataDefinition()) for frame in (current, reference)]
    found = Report([DataDriftPreset()], include_tests=True).run(*datasets).dict()
    wall_s = time.perf_counter() - began_s
    columns, share = {}, None
    tests = {test["metric_config"]["params"].get("column"): test["status"] for test in found["tests"]}
    for metric in found["metrics"]:
        column = metric["config"].get("column")
        if column is None:
            share = metric["value"]["share"]
            continue
        columns[column] = {
            "method": metric["config"].get("method"),
            "score": float(metric["value"]),
            "drift": str(tests[column]).endswith("FAIL"),
        }
    return {"columns": columns, "share": share, "wall_s": wall_s}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    pairs = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps([judge(*pair) for pair in pairs]))
