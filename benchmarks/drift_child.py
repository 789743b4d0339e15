"""One measurement of the drift engine in a process of its own, so that its peak memory is its own: JSON on stdout."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from rayloop.platform.stats import compare, profile_files, read_profile

MIB = 2**20


def main(reference_file: str, *files: str) -> None:
    """Count files on a reference's bins and compare; the first row group is counted once before, to compile."""
    reference = read_profile(Path(reference_file).read_bytes())
    warm(reference)
    imported_mib = peak_mib()
    began_s = time.perf_counter()
    profile = profile_files(files, reference)
    seconds = time.perf_counter() - began_s
    report = compare(reference, profile)
    found = {
        "rows": profile.rows,
        "seconds": seconds,
        "verdict": report.verdict,
        "imported_mib": imported_mib,
        "peak_mib": peak_mib(),
        "arrow_mib": (pa.default_memory_pool().max_memory() or 0) / MIB,
    }
    print(json.dumps(found))


def peak_mib() -> float:
    """Peak resident memory of this program; getrusage would count the parent's, from before it was replaced."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def warm(reference: Any) -> None:
    """Compile, or load what was compiled, before the clock runs."""
    from rayloop.platform.stats import profile

    name = next(iter(reference.columns))
    narrow, wide = pa.array([0.5], pa.float32()), pa.array([0.5], pa.float64())
    for column in (narrow, wide):
        profile(pa.table({name: column}), {name: reference.columns[name].binning})


if __name__ == "__main__":
    main(*sys.argv[1:])
