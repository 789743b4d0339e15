"""Owns how far a share may stray by chance; knows no columns and no rules.

Both bounds are Chernoff's: they hold for every size, and need no distribution's tables.
Source: Hoeffding (1963), "Probability inequalities for sums of bounded random variables", theorem 1.
"""

from __future__ import annotations

import math

CHANCE = 1e-6
"""How likely a sound table may be called unsound by one rule."""


def is_above(count: int, of: int, limit: float, chance: float = CHANCE) -> bool:
    """True where `count` out of `of` is more than chance allows if each has a probability of at most `limit`.

    A limit of 0 is absolute: one is too many.

    >>> is_above(1, 200, limit=0.001), is_above(20, 200, limit=0.001), is_above(1, 200, limit=0)
    (False, True, True)
    """
    if count == 0 or limit >= 1:
        return False
    if limit <= 0:
        return True
    share = count / of
    return share > limit and of * _divergence(share, limit) > math.log(1 / chance)


def upper_share(count: int, of: int, chance: float = CHANCE) -> float:
    """The largest probability by which `count` out of `of` is not yet too few to be chance; 1 of none.

    >>> round(upper_share(0, 1_000_000), 7), round(upper_share(500, 1_000), 3)
    (1.38e-05, 0.583)
    """
    if of == 0:
        return 1.0
    share, wanted = count / of, math.log(1 / chance)
    low, high = share, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if of * _divergence(share, middle) > wanted else (middle, high)
    return high


def _divergence(share: float, limit: float) -> float:
    """Kullback and Leibler's divergence of two coins, in nats."""
    if not 0 < limit < 1:
        return 0.0 if share == limit else math.inf
    here = share * math.log(share / limit) if share else 0.0
    return here + ((1 - share) * math.log((1 - share) / (1 - limit)) if share < 1 else 0.0)
