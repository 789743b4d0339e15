"""Evidently on two Parquet files: seconds in memory, and which columns it says drifted; it imports no rayloop."""

import json
import sys
import time
import warnings

import pandas as pd

warnings.filterwarnings("ignore")

from evidently import Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def main(reference_file: str, current_file: str, method: str) -> None:
    """Read, then time one report: "default" chooses a test for each column, else all have the one named."""
    reference, current = pd.read_parquet(reference_file), pd.read_parquet(current_file)
    preset = DataDriftPreset() if method == "default" else DataDriftPreset(num_method=method, cat_method=method)
    began_s = time.perf_counter()
    done = Report([preset]).run(current, reference)
    found = done.dict()
    seconds = time.perf_counter() - began_s
    print(json.dumps({"seconds": seconds, "metrics": found["metrics"]}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:4])
