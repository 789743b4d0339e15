"""Decides from measured metrics whether a version may be served; the verdict carries its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..project import Gate
from ..project.schema import LOWER_IS_BETTER


@dataclass(frozen=True, slots=True)
class GateResult:
    """One bound and how it was kept."""

    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All gates of a version; `metrics` and `champion_metrics` were measured on the same rows."""

    passed: bool
    gates: tuple[GateResult, ...]
    metrics: Mapping[str, float]
    champion: int | None
    champion_metrics: Mapping[str, float]
    snapshot: str
    rows: int

    def evidence(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(
    gates: Sequence[Gate],
    metrics: Mapping[str, float],
    champion: int | None,
    champion_metrics: Mapping[str, float],
    snapshot: str,
    rows: int,
) -> Verdict:
    """Hold every gate against the metrics; without gates a version passes, and says so."""
    results = [result for gate in gates for result in _hold(gate, metrics, champion, champion_metrics)]
    if not results:
        results = [GateResult(True, "the project sets no gates")]
    passed = all(result.passed for result in results)
    return Verdict(passed, tuple(results), metrics, champion, champion_metrics, snapshot, rows)


def _hold(
    gate: Gate, metrics: Mapping[str, float], champion: int | None, champion_metrics: Mapping[str, float]
) -> list[GateResult]:
    value = metrics.get(gate.metric)
    if value is None:
        return [GateResult(False, f"{gate.metric} is undefined on the held-out rows")]
    found: list[GateResult] = []
    if gate.min is not None:
        found.append(GateResult(value >= gate.min, f"{gate.metric} {value:.4f}, at least {gate.min:g} asked"))
    if gate.max is not None:
        found.append(GateResult(value <= gate.max, f"{gate.metric} {value:.4f}, at most {gate.max:g} asked"))
    if gate.max_loss_to_champion is not None:
        found.append(_against_champion(gate, value, champion, champion_metrics.get(gate.metric)))
    return found


def _against_champion(gate: Gate, value: float, champion: int | None, other: float | None) -> GateResult:
    assert gate.max_loss_to_champion is not None
    if champion is None or other is None:
        return GateResult(True, f"{gate.metric} {value:.4f}; no champion to compare with yet")
    loss = value - other if gate.metric in LOWER_IS_BETTER else other - value
    said = f"{gate.metric} {value:.4f} against champion v{champion} {other:.4f}"
    # Metrics are shares of few rows: without the slack, a loss of exactly the limit fails by rounding.
    return GateResult(
        loss <= gate.max_loss_to_champion + 1e-12,
        f"{said}, a loss of at most {gate.max_loss_to_champion:g} asked",
    )
