"""Both bounds hold as often as they promise, and a limit of 0 is absolute."""

import doctest

import numpy as np
import pytest
from rayloop.platform.quality import chance, is_above, upper_share


def test_examples_hold() -> None:
    assert doctest.testmod(chance) == (0, 2)


@pytest.mark.parametrize("probability", [0.001, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("of", [1, 10, 200, 5_000])
def test_a_share_at_its_limit_is_above_it_no_more_often_than_promised(probability: float, of: int) -> None:
    counts = np.random.default_rng(of).binomial(of, probability, 20_000)
    for promised in (0.05, 0.001):
        times = sum(
            int((counts == count).sum())
            for count in np.unique(counts)
            if is_above(int(count), of, probability, promised)
        )
        assert times / 20_000 <= promised * 1.3 + 1e-4
        missed = np.mean([upper_share(int(count), of, promised) < probability for count in counts[:500]])
        assert missed <= promised * 2 + 0.002


def test_it_finds_what_is_there() -> None:
    assert is_above(40, 200, 0.05)
    assert not is_above(12, 200, 0.05)
    assert is_above(5_500, 100_000, 0.05)


def test_ends() -> None:
    assert is_above(1, 10**9, 0.0)
    assert not is_above(0, 10, 0.0)
    assert not is_above(10, 10, 1.0)
    assert upper_share(0, 0) == upper_share(10, 10) == 1.0
    assert upper_share(0, 10) == pytest.approx(1 - 1e-6 ** (1 / 10))
