"""Measures the fused CUDA histogram on values that lie on the device, beside a copy from device to device.

Usage: python benchmarks/drift_gpu.py [--quick] [--json FILE]; needs CuPy and a GPU, neither Ray nor MLflow.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import claims
import click
import numpy as np
from rayloop.platform.stats import profile_array
from rayloop.platform.stats.fitting import numeric_binning
from rayloop.platform.stats.tally import NumberTally
from rich.console import Console

VALUES, QUICK_VALUES, HOST_VALUES, ROUNDS = 1_000_000_000, 100_000_000, 20_000_000, 7
GOAL_PERCENT = 40.0


@click.command()
@click.option("--quick", is_flag=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(quick: bool, json_file: Path | None) -> None:
    """Measure on the first GPU."""
    console = Console()
    try:
        import cupy
    except ImportError:
        raise SystemExit(
            "CuPy is not installed here: pip install 'rayloop[gpu]' on a machine with an NVIDIA GPU"
        ) from None
    num = QUICK_VALUES if quick else VALUES
    values = cupy.random.default_rng(1).standard_normal(num, dtype=cupy.float32)
    copy = cupy.empty_like(values)
    host = cupy.asnumpy(values[:HOST_VALUES])
    binning = numeric_binning(host[:131_072])
    profile_array(values[:1_000_000], binning)  # compiles
    copied_s, counted_s = [], []
    for _ in range(ROUNDS):
        copied_s.append(_seconds(cupy, lambda: cupy.copyto(copy, values)))
        counted_s.append(_seconds(cupy, lambda: profile_array(values, binning)))
    tally = NumberTally(binning)
    tally.add_values(host[:1_000_000])
    began_s = time.perf_counter()
    tally.add_values(host)
    host_ns = (time.perf_counter() - began_s) / len(host) * 1e9
    here, there = NumberTally(binning), profile_array(values[:HOST_VALUES], binning)
    here.add_values(host)
    differing = int((here.profile().counts != there.counts).sum())
    # A copy reads and writes each byte; counting only reads it.
    copy_gbs = 2 * values.nbytes / statistics.median(copied_s) / 1e9
    count_gbs = values.nbytes / statistics.median(counted_s) / 1e9
    device_ns = statistics.median(counted_s) / num * 1e9
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    console.print(f"{name}: copy {copy_gbs:.0f} GB/s, count {count_gbs:.0f} GB/s, {device_ns:.4f} ns a value")
    console.print(f"one CPU thread: {host_ns:.2f} ns a value, {host_ns / device_ns:.0f} times as long")
    found = [
        claims.at_least("bandwidth of counting by that of a copy", 100 * count_gbs / copy_gbs, GOAL_PERCENT, "percent"),
        claims.at_most("counts that differ from the CPU's", differing, 0, "counts"),
    ]
    claims.show(console, found)
    if json_file is not None:
        claims.write(json_file, found)
    raise SystemExit(0 if claims.all_hold(found) else 1)


def _seconds(cupy: object, work: object) -> float:
    began, ended = cupy.cuda.Event(), cupy.cuda.Event()  # type: ignore[attr-defined]
    began.record()
    work()  # type: ignore[operator]
    ended.record()
    ended.synchronize()
    return float(cupy.cuda.get_elapsed_time(began, ended)) / 1000  # type: ignore[attr-defined]


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
