"""Holds the requests against the faults: what happened in the seconds after each kind; it sends and breaks nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from client import Outcome

AFTER_S = 5.0
HEADER = ("within 5 s of", "times", "requests", "failed", "sent again", "slowest ms", "p99 ms")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that was done to the cluster, from the moment that it began until it was carried out."""

    kind: str
    began_s: float
    ended_s: float

    def meets(self, outcome: Outcome) -> bool:
        """True where the request was due, under way or answered between the fault's begin and 5 s after its end."""
        return outcome.got_s >= self.began_s and outcome.due_s <= self.ended_s + AFTER_S


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of some requests."""

    requests: int
    failed: int
    sent_again: int
    slowest_ms: float
    p99_ms: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Figures:
        """Count; the latencies of no requests are nan."""
        ordered = sorted(outcome.latency_ms for outcome in outcomes) or [math.nan]
        return cls(
            requests=len(outcomes),
            failed=sum(not outcome.is_good for outcome in outcomes),
            sent_again=sum(outcome.sent_again > 0 for outcome in outcomes),
            slowest_ms=ordered[-1],
            p99_ms=ordered[max(0, math.ceil(len(ordered) * 0.99) - 1)],
        )

    def cells(self, title: str, times: int | None = None) -> tuple[str, ...]:
        """A line under HEADER."""
        counts = (self.requests, self.failed, self.sent_again)
        latencies = (f"{value:,.0f}" for value in (self.slowest_ms, self.p99_ms))
        return (title, "" if times is None else str(times), *(f"{count:,}" for count in counts), *latencies)


def after(kind: str, faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> Figures:
    """The requests that met at least one fault of a kind; each counts once."""
    chosen = [fault for fault in faults if fault.kind == kind]
    return Figures.of([outcome for outcome in outcomes if any(fault.meets(outcome) for fault in chosen)])


def before_all(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> Figures:
    """The requests that were answered before the first fault began."""
    first_s = min((fault.began_s for fault in faults), default=math.inf)
    return Figures.of([outcome for outcome in outcomes if outcome.got_s < first_s])


def away_from(kind: str, faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> int:
    """How many requests were sent again that met no fault of this kind."""
    chosen = [fault for fault in faults if fault.kind == kind]
    again = [outcome for outcome in outcomes if outcome.sent_again]
    return sum(not any(fault.meets(outcome) for fault in chosen) for outcome in again)


def lines(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The table: the quiet time before, each kind in the order of its first fault, and all."""
    found = [before_all(faults, outcomes).cells("(before the first fault)")]
    for kind in dict.fromkeys(fault.kind for fault in sorted(faults, key=lambda fault: fault.began_s)):
        times = sum(fault.kind == kind for fault in faults)
        found.append(after(kind, faults, outcomes).cells(kind, times))
    found.append(Figures.of(outcomes).cells("(all of them)", len(faults)))
    return found
