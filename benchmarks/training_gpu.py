"""Measures rayloop's training loop on one GPU: precisions, compiling, memory, and the share of the peak it reaches.

Usage: python benchmarks/training_gpu.py [--quick] [--only NAME]... [--rounds N] [--device cpu] [--no-compile]
[--json FILE] [--markdown FILE]

It needs torch with CUDA, and neither Ray nor MLflow. Rows lie in the GPU's memory. Each model is trained in all ways in
turns at one batch, and the first turn of each is not counted. On a CPU, tiny models show that the script works.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import claims
import click
import gpu_batch
import report
import torch
from claims import Claim
from gpu_batch import Tried
from gpu_cases import Case, cases
from gpu_round import NotCompiled, Round, Trained, Way, is_lack_of_memory, model_flops, num_parameters
from rayloop.jobs.training.flops import device_name, peak_flops, utilisation

NAMES = ("ResNet", "Transformer", "MLP")
FP32, TF32, BF16 = Way("fp32"), Way("fp32, TF32", tf32=True), Way("bf16", "bf16")
COMPILED, TWICE = Way("bf16, compiled", "bf16", compile=True), Way("bf16, activations twice", "bf16", recompute=True)
WAYS = (FP32, TF32, BF16, COMPILED, TWICE)
STEPS, QUICK_STEPS, PROBE_STEPS = 20, 8, 4  # of a round
ROUNDS, QUICK_ROUNDS = 7, 3
# What must be reached, by model: bf16 by fp32, compiled by not, percent of the peak, memory when computed twice.
BF16_GOALS = {"ResNet": 1.5, "Transformer": 3.0, "MLP": 1.0}
COMPILED_GOALS = {"ResNet": 1.1, "Transformer": 1.1, "MLP": 1.1}
SHARE_GOALS = {"Transformer": 40.0}
MEMORY_GOALS = {"ResNet": 0.8, "Transformer": 0.5}
HEADER = ("model", "batch", "trained in", "rows/s", "by fp32", "% of peak", "peak MiB")


@dataclass
class Measured:
    """Rounds of each way to train one model."""

    case: Case
    batch: int
    flops: float | None
    rounds: dict[Way, list[Round]] = field(default_factory=dict)

    def rate(self, way: Way) -> float | None:
        """Median rows a second."""
        return statistics.median(one.rows_per_s for one in self.rounds[way]) if way in self.rounds else None

    def ratio(self, way: Way, beside: Way) -> float | None:
        """How many times as fast, round by round."""
        if way not in self.rounds or beside not in self.rounds:
            return None
        pairs = zip(self.rounds[way], self.rounds[beside], strict=True)
        return statistics.median(us.rows_per_s / them.rows_per_s for us, them in pairs)

    def peak_bytes(self, way: Way) -> int | None:
        """The most memory of any round."""
        found = [one.peak_bytes for one in self.rounds.get(way, []) if one.peak_bytes is not None]
        return max(found, default=None)

    def percent(self, way: Way, gpu: str | None) -> float | None:
        """Model FLOPs utilisation, of the peak of the numbers that it multiplies."""
        rate = self.rate(way)
        share = utilisation(self.flops, rate or 0.0, peak_flops(gpu, way.precision, way.tf32), 1)
        return None if share is None or rate is None else 100 * share

    def cells(self, gpu: str | None) -> list[tuple[str, ...]]:
        """Its lines of the table."""
        found = []
        for way in self.rounds:
            ratio, percent, peak = self.ratio(way, FP32), self.percent(way, gpu), self.peak_bytes(way)
            figures = (f"{self.rate(way):,.0f}", _text(ratio, ".2f"), _text(percent, ".1f"))
            found.append((self.case.name, f"{self.batch:,}", way.name, *figures, _text(_mib(peak), ",.0f")))
        return found


def measure(
    case: Case, device: torch.device, ways: Sequence[Way], rounds: int, steps: int, notes: list[str], say: report.Say
) -> Measured | None:
    """All ways to train a model, in turns; None, and a note, where not even the first batch fits."""
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None

    def attempt(way: Way, batch: int) -> Tried:
        found = probe(case, way, batch, device, total)
        rate = "no room" if found.rows_per_s is None else f"{found.rows_per_s:,.0f} rows/s"
        say(f"{case.name}, {way.name}, batch {batch:,}: {rate}")
        return found

    tried = gpu_batch.search(case.first_batch, case.most_batch, lambda batch: attempt(BF16, batch))
    best = gpu_batch.best_batch(tried)
    batch = None if best is None else gpu_batch.lowered(best.batch, lambda batch: attempt(FP32, batch))
    if batch is None:
        notes.append(f"{case.name} was left out: {case.first_batch} rows do not fit.")
        return None
    measured = Measured(case, batch, model_flops(case))
    trained: dict[Way, Trained] = {}
    for way in ways:
        if way.recompute and not case.recomputes:
            continue
        try:
            trained[way] = Trained(case, way, batch, device)
        except NotCompiled as reason:
            notes.append(f"{case.name} was not compiled: {reason}.")
    rows = case.rows(steps * batch, device)
    for number in range(rounds + 1):
        say(f"{case.name}, batch {batch:,}: {'warm-up' if number == 0 else f'round {number} of {rounds}'}")
        for way, one in trained.items():
            found = one.round(rows)
            if number:
                measured.rounds.setdefault(way, []).append(found)
    millions = num_parameters(trained[FP32]) / 1e6
    steps_text = " -> ".join(f"{one.batch:,}: {_text(one.rows_per_s, ',.0f') or 'no room'}" for one in tried)
    flops = "" if measured.flops is None else f", {measured.flops / 1e9:,.3f} GFLOP a row"
    notes.append(
        f"{case.name}: {case.describe}; {millions:,.2f} million parameters{flops}. Rows/s by batch: {steps_text}."
    )
    return measured


def probe(case: Case, way: Way, batch: int, device: torch.device, total_bytes: int | None) -> Tried:
    """A few steps of a batch, after as many to warm up."""
    try:
        one, rows = Trained(case, way, batch, device), case.rows(PROBE_STEPS * batch, device)
        one.round(rows)
        found = one.round(rows)
    except Exception as error:
        if not is_lack_of_memory(error):
            raise
        return Tried(batch, None)
    finally:
        one = rows = None  # type: ignore[assignment]  # the next one needs their memory
        _forget(device)
    share = 0.0 if total_bytes is None or found.peak_bytes is None else found.peak_bytes / total_bytes
    return Tried(batch, found.rows_per_s, share)


def claims_of(found: Mapping[str, Measured], asked: Sequence[str], gpu: str | None) -> list[Claim]:
    """What is held to be true on a GPU; on a CPU, and of a model that was left out, nothing is known."""

    def value(name: str, how: str, digits: int = 3) -> float | None:
        one = found.get(name)
        if one is None or gpu is None:
            return None
        peaks = one.peak_bytes(TWICE), one.peak_bytes(BF16)
        number = {
            "bf16": one.ratio(BF16, FP32),
            "compiled": one.ratio(COMPILED, BF16),
            "share": one.percent(COMPILED, gpu),
            "memory": peaks[0] / peaks[1] if peaks[0] and peaks[1] else None,
        }[how]
        return None if number is None else round(number, digits)

    made = []
    for name in asked:
        rates = f"rows/s of {name}"
        made.append(claims.at_least(f"{rates} in bf16 by fp32", value(name, "bf16"), BF16_GOALS[name], "times"))
        made.append(
            claims.at_least(f"{rates} compiled by not, bf16", value(name, "compiled"), COMPILED_GOALS[name], "times")
        )
        if name in SHARE_GOALS:
            words = f"{name}: share of the peak, bf16, compiled"
            made.append(claims.at_least(words, value(name, "share", 1), SHARE_GOALS[name], "percent"))
        if name in MEMORY_GOALS:
            words = f"{name}: memory with activations computed twice by without"
            made.append(claims.at_most(words, value(name, "memory"), MEMORY_GOALS[name], "times"))
    return made


def peaks_of(gpu: str | None) -> str:
    """Which peaks the shares are of."""
    known = [(way.name, peak_flops(gpu, way.precision, way.tf32)) for way in (FP32, TF32, BF16)]
    if gpu is None or any(peak is None for _, peak in known):
        return "No peak is known of this device, so there are no shares of it."
    listed = ", ".join(f"{name} {(peak or 0) / 1e12:g}" for name, peak in known)
    return (
        f"Shares are of the dense peaks of NVIDIA's data sheet, in TFLOP/s: {listed}; they count the model's own "
        "operations on all places, padding too, and not those that are done twice."
    )


def run(
    device: torch.device, asked: Sequence[str], is_quick: bool, rounds: int, does_compile: bool, say: report.Say
) -> tuple[list[tuple[str, ...]], list[Claim], list[str]]:
    """The lines of the table, claims and notes."""
    gpu = device_name(device)
    notes = [f"{report.hardware()}; {gpu or 'no GPU'}; torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}."]
    ways = [way for way in WAYS if does_compile or not way.compile]
    found: dict[str, Measured] = {}
    for case in cases(is_tiny=gpu is None):
        if case.name in asked:
            one = measure(case, device, ways, rounds, QUICK_STEPS if is_quick else STEPS, notes, say)
            _forget(device)
            found |= {} if one is None else {case.name: one}
    notes.append(peaks_of(gpu))
    notes.append(
        "Memory is the most that a training takes, weights and optimizer included, rows left out; medians of "
        f"{rounds} rounds in turns. The batch is the fastest in bf16 that leaves half of the memory, also in fp32."
    )
    return [line for one in found.values() for line in one.cells(gpu)], claims_of(found, asked, gpu), notes


def _forget(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _mib(size: int | None) -> float | None:
    return None if size is None else size / (1 << 20)


def _text(value: float | None, style: str) -> str:
    return "" if value is None else f"{value:{style}}"


@click.command()
@click.option("--quick", is_flag=True, help="three rounds of eight steps")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="a model; may be given again")
@click.option("--rounds", type=click.IntRange(min=1), help="rounds  [7, or 3 with --quick]")
@click.option("--device", default="cuda", help="cpu trains tiny models, and holds no claim  [cuda]")
@click.option("--no-compile", is_flag=True, help="leave torch.compile out, which takes a minute or two")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(
    quick: bool,
    only: Sequence[str],
    rounds: int | None,
    device: str,
    no_compile: bool,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Measure rayloop's training loop on the first GPU."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("torch sees no NVIDIA GPU: run it where there is one, or with --device cpu")
    report.leave_on_sigterm()
    console = report.terminal()
    where = torch.device("cuda", torch.device(device).index or 0) if device.startswith("cuda") else torch.device(device)
    asked = only or NAMES
    cells, made, notes = run(
        where, asked, quick, rounds or (QUICK_ROUNDS if quick else ROUNDS), not no_compile, report.teller(console)
    )
    report.publish(console, [(HEADER, cells)], made, notes, markdown, json_file)


if __name__ == "__main__":
    main()
