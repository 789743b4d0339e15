"""Measures how well rayloop's built-in tasks learn real data, beside scikit-learn on the same rows.

Usage: python benchmarks/quality.py [--data FOLDER] [--quick] [--only NAME]... [--json FILE] [--markdown FILE]

rayloop's own loop trains here in this process, without Ray; the epoch is chosen on the validation rows, and every
figure is of the test rows. One seed: a figure may move by a few thousandths with another.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import claims
import click
import numpy as np
import report
import rivals
import torch
from claims import Claim
from rayloop.jobs.training.data import encode_rows
from rayloop.jobs.training.loop import Place, Plan, Training, build_module, measure
from rayloop.platform.model.schema import fit_schema
from rayloop.platform.model.task import find_task
from rayloop.platform.project.schema import LOWER_IS_BETTER
from rayloop.platform.validate import metrics_of
from samples import SAMPLES, NotHere, Sample
from threadpoolctl import threadpool_limits

HEADER = ("data", "rows", "metric", "rayloop", *rivals.NAMES, "rayloop is", "seconds", "theirs")


@dataclass(frozen=True, slots=True)
class Learnt:
    """What everyone reached on the test rows of one sample, and how long each fit took."""

    sample: Sample
    metrics: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]

    def cells(self) -> list[tuple[str, ...]]:
        """The lines of the table, one for each metric."""
        rows = f"{self.sample.train.num_rows + self.sample.validation.num_rows:,} / {self.sample.test.num_rows:,}"
        lines = []
        for place, metric in enumerate(self.sample.metrics):
            ours = self.metrics[report.US][metric]
            theirs = [self.metrics[rival][metric] for rival in rivals.NAMES]
            head = (self.sample.name, rows) if place == 0 else ("", "")
            times = [f"{self.seconds[name]:.0f}" for name in (report.US, *rivals.NAMES)] if place == 0 else ["", "", ""]
            figures = [f"{value:.4f}" for value in (ours, *theirs)]
            lines.append((*head, metric, *figures, self._standing(metric), times[0], " / ".join(times[1:]).strip(" /")))
        return lines

    def _standing(self, metric: str) -> str:
        """By how much we are before or behind the better one of the others."""
        theirs = [self.metrics[rival][metric] for rival in rivals.NAMES]
        best = min(theirs) if metric in LOWER_IS_BETTER else max(theirs)
        ahead = (best - self.metrics[report.US][metric]) * (1 if metric in LOWER_IS_BETTER else -1)
        if round(ahead, 4) == 0:
            return "level"
        return f"ahead by {ahead:.4f}" if ahead > 0 else f"**behind by {-ahead:.4f}**"

    def claims(self) -> list[Claim]:
        """What had to be reached."""
        ours = self.metrics[report.US]
        return [
            claims.at_least(f"{self.sample.name}: {metric}", round(ours[metric], 4), goal, "")
            for metric, goal in self.sample.goals.items()
        ]


def learn(sample: Sample, say: report.Say) -> Learnt:
    """Train, then fit the others."""
    project = sample.project
    task, plan = find_task(project.task.use), Plan.of(project)
    began_s = time.monotonic()
    schema = fit_schema(sample.train, project)
    rows, held_out, test = (encode_rows(task, schema, part) for part in (sample.train, sample.validation, sample.test))
    training = Training(task, build_module(task, schema, plan), plan, Place())
    for epoch in range(plan.epochs):
        loss = training.run_epoch(rows)
        score = training.evaluate(held_out)[plan.metric]
        say(f"{sample.name}: epoch {epoch + 1} of {plan.epochs}, loss {loss:.4f}, validation {plan.metric} {score:.4f}")
    training.module.load_state_dict(training.best_weights())
    seconds = {report.US: time.monotonic() - began_s}
    metrics = {report.US: measure(task, training.module, test)}
    for rival in rivals.NAMES:
        began_s = time.monotonic()
        answers = rivals.answers(rival, sample, schema.target.classes)
        seconds[rival] = time.monotonic() - began_s
        metrics[rival] = metrics_of(np.asarray(test.target), answers)
        say(f"{sample.name}: {rival} took {seconds[rival]:.0f} s")
    return Learnt(sample, metrics, seconds)


def settings(sample: Sample) -> str:
    """What the project sets, for whoever wants the same."""
    task = sample.project.task.model_dump(mode="json", exclude_unset=True)
    train = sample.project.train.model_dump(mode="json", exclude_unset=True)
    parts = [f"{name}: {value}" for name, value in (("task", task), ("train", train)) if value]
    return f"{sample.name}: {'; '.join(parts) or 'every setting at its default'}."


@click.command()
@click.option("--data", envvar="RAYLOOP_DATA", type=click.Path(path_type=Path, exists=True), help="where the data lies")
@click.option("--quick", is_flag=True, help="fewer rows and epochs, under two minutes on two free cores")
@click.option("--only", multiple=True, type=click.Choice(list(SAMPLES)), help="a data set; may be given again")
@click.option("--threads", default=2, show_default=True, help="of torch")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(
    data: Path | None,
    quick: bool,
    only: Sequence[str],
    threads: int,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Measure how well the built-in tasks learn."""
    report.leave_on_sigterm()
    console = report.terminal()
    say = report.teller(console)
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scikit-learn's; idle threads of OpenMP spin
    torch.use_deterministic_algorithms(True)  # as workers train on CPU
    cells: list[tuple[str, ...]] = []
    found: list[Claim] = []
    versions = ", ".join(f"{name} {version(name)}" for name in ("rayloop", "torch", "scikit-learn"))
    notes = [f"{report.hardware()}; {versions}; {threads} threads, one seed."]
    for name in only or SAMPLES:
        try:
            sample = SAMPLES[name](data, quick)
        except NotHere as reason:
            notes.append(f"{name} was skipped: {reason}.")
            continue
        learnt = learn(sample, say)
        cells += learnt.cells()
        found += learnt.claims()
        notes.append(settings(sample))
        if markdown is not None:  # kept if the rest is broken off
            markdown.write_text(report.markdown(cells, HEADER))
    report.publish(console, [(HEADER, cells)], found, notes, markdown, json_file)


if __name__ == "__main__":
    main()
