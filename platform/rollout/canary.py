"""The rule of one canary: counts of both arms in, a decision with its reason out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..project.schema import CanaryConfig
from .confidence import share_bounds

ALPHA = 0.05  # chance of a wrong decision over the whole canary, half of it for each arm's bounds


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one version answered since the canary began; an error is a status of 500 or more."""

    answers: int
    errors: int


@dataclass(frozen=True, slots=True)
class CanaryDecision:
    """What to do next, and why."""

    action: Literal["promote", "roll_back", "watch", "inconclusive"]
    reason: str


def decide(champion: ArmCounts, challenger: ArmCounts, waited_s: float, config: CanaryConfig) -> CanaryDecision:
    """Roll back when the challenger surely errs more, promote when it surely does not err much more.

    "Surely" means by bounds that hold at every moment, so it may be asked as often as one likes. Neither
    before the deadline: watch; neither at the deadline: inconclusive.
    """
    seen = f"{challenger.errors} errors in {challenger.answers} answers"
    champion_low, champion_high = share_bounds(champion.errors, champion.answers, ALPHA / 2)
    low, high = share_bounds(challenger.errors, challenger.answers, ALPHA / 2)
    if low > champion_high:
        return CanaryDecision(
            "roll_back",
            f"{seen}: an error share of at least {low:.4f}, the champion's is at most {champion_high:.4f}",
        )
    harm = high - champion_low
    if challenger.answers >= config.min_requests and harm <= config.max_error_increase:
        return CanaryDecision(
            "promote",
            f"{seen}: at most {harm:.4f} more errors than the champion, {config.max_error_increase:g} allowed",
        )
    if waited_s >= config.deadline_s:
        return CanaryDecision("inconclusive", f"{seen} after {waited_s:.0f} s decide nothing; a person must")
    return CanaryDecision("watch", f"{seen}: up to {harm:.4f} more errors than the champion are possible still")
