"""The curve of delays is the true one although young predictions still wait for theirs, and parts of it add."""

from __future__ import annotations

import numpy as np
import pytest
from rayloop.platform.performance.maturity import Delays

HOUR_S = 3_600.0


def drawn(num: int, share: float, mean_s: float, oldest_s: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Delays (NaN where none came yet) and ages of predictions, of which a share gets a label at all."""
    random = np.random.default_rng(seed)
    age = random.uniform(0, oldest_s, num)
    delay = np.where(random.uniform(size=num) < share, random.exponential(mean_s, num), np.inf)
    return np.where(delay <= age, delay, np.nan), age


def test_young_predictions_do_not_bend_the_curve() -> None:
    curve = Delays.count(*drawn(50_000, share=0.6, mean_s=HOUR_S, oldest_s=10 * HOUR_S)).curve()
    naive = np.mean(~np.isnan(drawn(50_000, 0.6, HOUR_S, 10 * HOUR_S)[0]))
    assert naive < 0.56  # the share that is there now
    assert curve.promise == pytest.approx(0.6, abs=0.01)
    for hours in (0.5, 1, 3):
        assert curve.at(hours * HOUR_S) == pytest.approx(0.6 * (1 - np.exp(-hours)), abs=0.06)
    assert curve.delay_s(0.5) == pytest.approx(np.log(2) * HOUR_S, rel=0.2)
    assert (curve.at(0.0), curve.at(-5.0)) == (0.0, 0.0)
    ages = np.linspace(0, 2, 2_001)
    assert curve.over(2 * HOUR_S, 0.0) == pytest.approx(0.6 * (1 - np.exp(-ages)).mean(), abs=0.04)
    assert curve.over(2 * HOUR_S, -2 * HOUR_S) == pytest.approx(curve.over(2 * HOUR_S, 0.0), abs=0.02)
    assert curve.over(-1.0, -5.0) == 0.0


def test_counts_add_and_can_be_taken_out() -> None:
    delay, age = drawn(1_000, 0.5, HOUR_S, 10 * HOUR_S)
    whole = Delays.count(delay, age)
    parts = [Delays.count(delay[:300], age[:300]), Delays.count(delay[300:], age[300:])]
    summed = parts[0] + parts[1]
    np.testing.assert_array_equal(summed.came_D, whole.came_D)
    np.testing.assert_array_equal((whole - parts[0]).waiting_D, parts[1].waiting_D)
    assert (whole.total, Delays.none().total) == (1_000, 0)


def test_without_labels_nothing_is_promised() -> None:
    curve = Delays.count(np.full(100, np.nan), np.full(100, HOUR_S)).curve()
    assert (curve.promise, curve.delay_s(0.5)) == (0.0, None)


def test_a_label_from_a_clock_that_is_behind_came_at_once() -> None:
    curve = Delays.count(np.full(100, -2.0), np.full(100, HOUR_S)).curve()
    assert (curve.promise, curve.at(1.0)) == (1.0, 1.0)


def test_a_tail_of_few_predictions_is_not_believed() -> None:
    delay = np.concatenate([np.full(1_000, 10.0), np.full(5, 50 * HOUR_S)])
    age = np.full(1_005, 10 * HOUR_S)
    waiting = Delays.count(np.full(1_000, np.nan), np.full(1_000, 10 * HOUR_S))
    assert Delays.count(delay, np.full(1_005, 90 * HOUR_S)).curve().promise == 1.0  # all of them were seen
    assert (Delays.count(delay, age) + waiting).curve().promise == pytest.approx(1_000 / 2_005)
