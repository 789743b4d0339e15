"""The report of a reproduction: what was checked, how the weights compare, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .weights import Outcome, TensorDifference

MOST_TENSORS, MOST_LINES = 5, 20


@dataclass(frozen=True, slots=True)
class Report:
    """A version, trained again."""

    model: str
    version: int
    run: str
    """The run that made the version."""
    again: str
    """The run that trained it again."""
    outcome: Outcome
    tolerance: float | None
    """What the caller allowed the weights to differ by; None for nothing."""
    tensors: int
    differences: tuple[TensorDifference, ...]
    first_epoch: int | None
    """The first epoch after which the weights differ; 0 before any step."""
    epochs: int
    """Epochs whose weights' hashes could be compared."""
    sha256: str
    sha256_again: str
    code: tuple[str, ...]
    """How the code was rebuilt, a sentence each."""
    environment: tuple[str, ...]
    """What of the environment is not as it was, a sentence each."""
    machine: tuple[str, ...]
    data: str
    labels: tuple[str, ...]
    """What makes a difference likely: a resumed, elastic, searched or not deterministic run."""
    wall_s: float

    @property
    def is_success(self) -> bool:
        """True for the same bits, or for weights within a tolerance that was asked for."""
        return self.outcome == "bit-exact" or (self.outcome == "within tolerance" and self.tolerance is not None)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The report that `to_dict` gave."""
        names = ("code", "environment", "machine", "labels")
        lists = {name: tuple(values[name]) for name in names}
        differences = tuple(TensorDifference(**found) for found in values["differences"])
        return cls(**{**values, **lists, "differences": differences})


def describe(report: Report) -> list[str]:
    """The report as lines for a person; the last one is the verdict."""
    lines = [f"code: {text}" for text in report.code]
    lines.append(f"data: {report.data}")
    if not report.environment:
        lines.append("environment: as it was")
    lines += [f"environment: {text}" for text in report.environment[:MOST_LINES]]
    if len(report.environment) > MOST_LINES:
        lines.append(f"environment: and {len(report.environment) - MOST_LINES} more differences")
    lines += [f"machine: {text}" for text in report.machine]
    lines += [f"note: {text}" for text in report.labels]
    lines += [f"tensor {_tensor(found)}" for found in report.differences[:MOST_TENSORS]]
    if len(report.differences) > MOST_TENSORS:
        lines.append(f"and {len(report.differences) - MOST_TENSORS} more tensors differ")
    if report.differences:
        lines.append(_parted(report))
    same = "the same artifact" if report.sha256 == report.sha256_again else "another artifact"
    lines.append(
        f"{report.model} v{report.version}: {report.outcome}, {report.tensors - len(report.differences)} of "
        f"{report.tensors} tensors are equal bit for bit; {same} ({report.sha256_again[:12]}), {report.wall_s:.0f} s"
    )
    return lines


def _tensor(found: TensorDifference) -> str:
    if found.max_abs is None:
        return f"{found.name} {found.reason}"
    return (
        f"{found.name} differs in {found.values} values, by {found.max_abs:.3g} at most, {found.max_rel:.3g} relative"
    )


def _parted(report: Report) -> str:
    if report.first_epoch == 0:
        return "the weights differ before the first step: the seed, the schema or torch itself is another one"
    if report.first_epoch is None:
        known = f"in {report.epochs} epochs whose hashes are known" if report.epochs else "no hashes were taken"
        return f"where they parted is not known: {known}"
    return f"the weights are the same until they differ after epoch {report.first_epoch}"
