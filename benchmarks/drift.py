"""Measures the drift engine: against Evidently in memory, against pyarrow's bare reading, and its peak memory.

Usage: python benchmarks/drift.py [--quick] [--only NAME]... [--json FILE] [--markdown FILE] [--keep FOLDER]

Rounds alternate between what is compared, and ratios are taken within a run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import array_api_strict
import claims
import click
import drift_data
import environments
import numpy as np
import pyarrow.parquet as pq
import report
from claims import Claim
from pyarrow import fs
from rayloop.platform.stats import (
    Profile,
    compare,
    count_portions,
    profile,
    profile_array,
    profile_files,
    write_profile,
)
from rayloop.platform.stats.files import ParquetFiles, Selection

HERE = Path(__file__).resolve().parent
MIB = 2**20
COLUMNS = 20
DEFAULT_GOAL, PSI_GOAL, READ_GOAL, FLAT_PERCENT, WIDE_MIB = 500.0, 200.0, 1.2, 10.0, 2_048.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows and rounds of each part."""

    memory_rows: int
    file_rows: int
    flat_rows: Sequence[int]
    wide_rows: int
    wide_columns: int
    rounds: int


FULL = Sizes(1_000_000, 10_000_000, (1_000_000, 10_000_000, 100_000_000), 1_100_000, 1_000, 5)
QUICK = Sizes(100_000, 4_000_000, (1_000_000, 4_000_000), 100_000, 200, 3)


@dataclass
class Found:
    """Tables, claims and notes of a run."""

    tables: list[tuple[Sequence[str], list[tuple[str, ...]]]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def in_memory(sizes: Sizes, folder: Path, found: Found, say: report.Say) -> None:
    """A reference and a window of pandas, both profiled anew and compared, beside Evidently on the same frames."""
    reference, current = drift_data.frames(sizes.memory_rows, COLUMNS)
    paths = [folder / "reference.parquet", folder / "current.parquet"]
    for frame, path in zip((reference, current), paths, strict=True):
        frame.to_parquet(path)
    _ours(reference, current)  # compiles
    ours: list[float] = []
    theirs: dict[str, dict[str, Any]] = {}
    for method in ("default", "psi"):
        ours += [_ours(reference, current) for _ in range(sizes.rounds)]
        say(f"Evidently, {method}, on {sizes.memory_rows:,} rows")
        theirs[method] = _evidently(paths, method)
        ours += [_ours(reference, current) for _ in range(sizes.rounds)]
    mine_s = statistics.median(ours)
    rows = [(f"rayloop: two profiles and {len(reference.columns)} verdicts", f"{mine_s:.3f}", "1")]
    for method, goal in (("default", DEFAULT_GOAL), ("psi", PSI_GOAL)):
        seconds = theirs[method]["seconds"]
        rows.append((f"Evidently, {method}", f"{seconds:.1f}", f"{seconds / mine_s:.0f}"))
        name = f"Evidently's time by rayloop's, {method}"
        found.claims.append(claims.at_least(name, round(seconds / mine_s, 1), goal, "times"))
    found.notes.append(
        f"with the reference's profile at hand, as in service, a window takes {_window_s(reference, current):.3f} s"
    )
    bins = profile(reference)
    followed = compare(bins, profile(current, bins), compat="evidently")
    flagged = set(followed.drifted)
    peers = _flagged(theirs["default"])
    differ = sorted(flagged ^ peers)
    found.notes.append(f"Evidently flags {len(peers)} of {COLUMNS} columns, compat mode {len(flagged)}")
    found.claims.append(
        claims.at_most("columns that compat mode and Evidently flag differently", len(differ), 0, "columns")
    )
    found.tables.append(((f"in memory, 2 x {sizes.memory_rows:,} x {COLUMNS} float64", "seconds", "times"), rows))


def _ours(reference: Any, current: Any) -> float:
    began_s = time.perf_counter()
    bins = profile(reference)
    compare(bins, profile(current, bins))
    return time.perf_counter() - began_s


def _window_s(reference: Any, current: Any) -> float:
    bins = profile(reference)
    began_s = time.perf_counter()
    compare(bins, profile(current, bins))
    return time.perf_counter() - began_s


def _evidently(paths: Sequence[Path], method: str) -> dict[str, Any]:
    python = environments.make("evidently") / "python"
    command = [str(python), str(HERE / "peers" / "evidently_drift.py"), *map(str, paths), method]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _flagged(done: Mapping[str, Any]) -> set[str]:
    flagged = set()
    for metric in done["metrics"]:
        config = metric["config"]
        if "column" in config:
            is_p_value = "p_value" in config["method"]
            value, limit = float(metric["value"]), config["threshold"]
            if value < limit if is_p_value else value >= limit:
                flagged.add(config["column"])
    return flagged


def on_disk(sizes: Sizes, folder: Path, found: Found, say: report.Say) -> None:
    """A window on disk counted on a reference's bins, beside what pyarrow needs to read the same file."""
    bins = profile_files([str(drift_data.write(folder / "bins.parquet", 1_000_000, COLUMNS))])
    rows = []
    for compression, words in (("snappy", "as pyarrow writes it"), ("zstd", "zstd")):
        path = folder / f"disk-{sizes.file_rows}-{compression}.parquet"
        drift_data.write(path, sizes.file_rows, COLUMNS, compression=compression)
        read: list[float] = []
        counted: list[float] = []
        for turn in range(sizes.rounds + 1):
            for kept, work in ((read, _read), (counted, lambda file: profile_files([file], bins))):
                began_s = time.perf_counter()
                work(str(path))
                if turn:  # the first brings the file into the page cache and compiles
                    kept.append(time.perf_counter() - began_s)
        say(f"{words}: read and counted {sizes.file_rows:,} rows {sizes.rounds} times each")
        ratio = statistics.median(mine / bare for mine, bare in zip(counted, read, strict=True))
        rows.append((words, f"{statistics.median(read):.2f}", f"{statistics.median(counted):.2f}", f"{ratio:.2f}"))
        name = f"time by pyarrow's reading alone, {words}"
        found.claims.append(claims.at_most(name, round(ratio, 3), READ_GOAL, "times"))
    title = f"{sizes.file_rows:,} x {COLUMNS} float32, Parquet, {os.cpu_count()} cores"
    found.tables.append(((title, "read_table s", "read and counted s", "ratio"), rows))


def _read(path: str) -> None:
    pq.read_table(path)


def flat(sizes: Sizes, folder: Path, found: Found, say: report.Say) -> None:
    """Peak memory of a process of its own for files of more and more rows."""
    bins = _bins(folder, 8)
    rows, peaks = [], []
    for num in sizes.flat_rows:
        path = drift_data.write(folder / f"flat-{num}.parquet", num, 8, group_rows=500_000)
        say(f"wrote {num:,} rows")
        one = _child(bins, path)
        peaks.append(one["peak_mib"])
        rows.append((f"{num:,}", f"{one['seconds']:.2f}", f"{one['peak_mib']:.0f}", f"{one['imported_mib']:.0f}"))
        path.unlink()
    found.tables.append((("rows of 8 float32 columns", "seconds", "peak MiB", "of it before the work"), rows))
    apart = 100 * (max(peaks) / min(peaks) - 1)
    name = f"peak memory from {sizes.flat_rows[0]:,} to {sizes.flat_rows[-1]:,} rows, largest by smallest"
    found.claims.append(claims.at_most(name, round(apart, 1), FLAT_PERCENT, "percent more"))


def wide(sizes: Sizes, folder: Path, found: Found, say: report.Say) -> None:
    """Many columns: the case that kills a tool that holds its rows."""
    path = drift_data.write(folder / "wide.parquet", sizes.wide_rows, sizes.wide_columns, group_rows=100_000)
    say(f"wrote {sizes.wide_rows:,} x {sizes.wide_columns:,}")
    one = _child(_bins(folder, sizes.wide_columns), path)
    title = f"{sizes.wide_rows:,} x {sizes.wide_columns:,} float32"
    found.tables.append(
        ((title, "seconds", "peak MiB"), [("rayloop", f"{one['seconds']:.1f}", f"{one['peak_mib']:.0f}")])
    )
    found.claims.append(claims.at_most(f"peak memory, {title}", round(one["peak_mib"]), WIDE_MIB, "MiB"))
    if sizes.wide_rows == FULL.wide_rows:
        found.notes.append(
            f"a tenth of 11,000,000 x 1,000: {one['seconds']:.1f} s, so all of it about {10 * one['seconds']:.0f} s"
        )
    path.unlink()


def _bins(folder: Path, columns: int) -> Path:
    path = folder / f"bins-{columns}.profile"
    if not path.exists():
        source = drift_data.write(folder / f"bins-{columns}.parquet", 100_000, columns)
        path.write_bytes(write_profile(profile_files([str(source)])))
    return path


def _child(bins: Path, path: Path) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "drift_child.py"), str(bins), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def equal(_sizes: Sizes, folder: Path, found: Found, say: report.Say) -> None:
    """The same rows in other splits, by other workers and other array modules: every count must be the same."""
    path = drift_data.write(folder / "equal.parquet", 1_000_000, COLUMNS, group_rows=50_000)
    bins = profile_files([str(path)])
    files, selection = ParquetFiles(fs.LocalFileSystem(), [str(path)]), Selection(tuple(bins.columns))
    portions = files.portions(selection)
    generator = np.random.default_rng(drift_data.SEED)
    others: list[Profile] = []
    for workers in (1, 2, 8):
        order = generator.permutation(len(portions))
        parts = [[portions[place] for place in order[start::workers]] for start in range(workers)]
        made = [count_portions(files, part, selection, bins.binnings, threads=1) for part in parts]
        others.append(Profile.merge_all([made[place] for place in generator.permutation(workers)]))
    table = pq.read_table(path)
    strict = {
        name: profile_array(array_api_strict.asarray(table.column(name).to_numpy()), column.binning)
        for name, column in bins.columns.items()
    }
    others.append(Profile(strict, table.num_rows))
    differing = sum(
        int((one.columns[name].counts != column.counts).sum())
        for one in others
        for name, column in bins.columns.items()
    )
    say(f"compared {len(others)} profiles of {table.num_rows:,} x {COLUMNS}")
    found.claims.append(
        claims.at_most("counts that differ over 1, 2, 8 workers and array-api-strict", differing, 0, "counts")
    )


PARTS: Mapping[str, Callable[[Sizes, Path, Found, report.Say], None]] = {
    "memory": in_memory,
    "disk": on_disk,
    "flat": flat,
    "wide": wide,
    "equal": equal,
}


@click.command()
@click.option("--quick", is_flag=True, help="smaller tables: under three minutes once Evidently is installed")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="some parts; default all")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path))
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="folder for the tables [a temporary one]"
)
def main(
    quick: bool, only: Sequence[str], json_file: Path | None, markdown_file: Path | None, keep: Path | None
) -> None:
    """Measure the drift engine."""
    report.leave_on_sigterm()
    console, found, sizes = report.terminal(), Found(), QUICK if quick else FULL
    say = report.teller(console)
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayloop-drift-")))
        folder.mkdir(parents=True, exist_ok=True)
        for name in only or PARTS:
            say(name)
            PARTS[name](sizes, folder, found, say)
    used = {
        package: f"{package} {environments.version(package)}" for package in ("numpy", "numba", "pyarrow", "pandas")
    }
    found.notes += [report.hardware(), report.software(used)]
    report.publish(console, found.tables, found.claims, found.notes, markdown_file, json_file)


if __name__ == "__main__":
    main()
