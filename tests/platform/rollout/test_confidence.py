"""The bounds have known answers, and hold at every moment of nearly every run."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rayloop.platform import rollout
from rayloop.platform.errors import InvalidInput
from rayloop.platform.rollout import confidence, share_bounds

ALPHA = 0.05


def test_public_names_exist() -> None:
    assert [name for name in rollout.__all__ if not hasattr(rollout, name)] == []


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(confidence).failed == 0


@pytest.mark.parametrize("trials", [1, 5, 200, 100_000])
def test_without_hits_the_bound_has_a_closed_form(trials: int) -> None:
    """No hit in n leaves p with (1 - p)^n > alpha / (n + 1)."""
    expected = 1 - (ALPHA / (trials + 1)) ** (1 / trials)
    low, high = share_bounds(0, trials, ALPHA)
    assert (low, high) == (0.0, pytest.approx(expected, rel=1e-9))
    low, high = share_bounds(trials, trials, ALPHA)
    assert (low, high) == (pytest.approx(1 - expected, rel=1e-9), 1.0)


def test_without_trials_nothing_is_known() -> None:
    assert share_bounds(0, 0, ALPHA) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "trials"), [(1, 2), (3, 10), (50, 100), (1, 1_000), (999, 1_000), (40_000, 10**6)])
def test_at_its_bounds_the_martingale_reaches_one_over_alpha(hits: int, trials: int) -> None:
    misses = trials - hits
    log_mixture = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(trials + 2)
    low, high = share_bounds(hits, trials, ALPHA)
    assert 0 < low < hits / trials < high < 1
    for bound in (low, high):
        log_wealth = log_mixture - hits * math.log(bound) - misses * math.log1p(-bound)
        assert log_wealth == pytest.approx(math.log(1 / ALPHA), rel=1e-6)


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.2, 0.05, 0.001]))
def test_hits_and_misses_are_mirror_images(hits: int, misses: int, alpha: float) -> None:
    low, high = share_bounds(hits, hits + misses, alpha)
    mirror_low, mirror_high = share_bounds(misses, hits + misses, alpha)
    assert 0 <= low < high <= 1
    assert (mirror_low, mirror_high) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))
    wider_low, wider_high = share_bounds(hits, hits + misses, alpha / 2)
    assert wider_low <= low
    assert high <= wider_high


@pytest.mark.parametrize("chance", [0.01, 0.3])
def test_the_bounds_hold_at_all_times_at_once(chance: float) -> None:
    """500 runs of 2,000 trials, looked at after every one; the bounds close in, so few places decide.

    A run is counted as broken if any of its looks leaves the chance outside.
    """
    num_runs, num_trials = 500, 2_000
    rng = np.random.default_rng(2026)
    hits = (rng.uniform(size=(num_runs, num_trials)) < chance).cumsum(axis=1)
    # Which counts rule the chance out is the same for all runs: bounds rise with the hits.
    lowest = np.empty(num_trials, np.int64)
    highest = np.empty(num_trials, np.int64)
    fewest = most = 0
    for trials in range(1, num_trials + 1):
        while share_bounds(fewest, trials, ALPHA)[1] < chance:
            fewest += 1
        while most < trials and share_bounds(most + 1, trials, ALPHA)[0] <= chance:
            most += 1
        lowest[trials - 1], highest[trials - 1] = fewest, most
    broken = ((hits < lowest) | (hits > highest)).any(axis=1)
    assert broken.mean() <= ALPHA
    # The promise is not kept by bounds that say nothing.
    low, high = share_bounds(int(num_trials * chance), num_trials, ALPHA)
    assert high - low < 9 * math.sqrt(chance * (1 - chance) / num_trials)


def test_usual_bounds_would_not_hold() -> None:
    """The same looks at 95 % bounds of one fixed moment break in far more than 5 % of the runs."""
    rng = np.random.default_rng(2026)
    trials = np.arange(1, 2_001)
    shares = (rng.uniform(size=(500, 2_000)) < 0.3).cumsum(axis=1) / trials
    broken = (np.abs(shares - 0.3) > 1.96 * math.sqrt(0.21) / np.sqrt(trials))[:, 30:].any(axis=1)
    assert broken.mean() > 0.2


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(hits: int, trials: int) -> None:
    with pytest.raises(InvalidInput, match=f"hits={hits}, trials={trials}: hits must lie between 0 and trials"):
        share_bounds(hits, trials, ALPHA)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_bad_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInput, match=f"alpha={alpha}: it must lie between 0 and 1"):
        share_bounds(1, 2, alpha)
