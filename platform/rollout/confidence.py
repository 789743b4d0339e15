"""Bounds of a share that hold at every moment at once, so that looking after each request is free."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import InvalidInput


def share_bounds(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    """Lower and upper bound, in [0, 1], of the chance behind `hits` of `trials`.

    With probability 1 - alpha the chance lies between them after every trial, however long one goes on and
    whenever one stops. Without trials the bounds are 0 and 1.

    Source: the mixture martingale of Robbins (1970), "Statistical methods related to the law of the iterated
    logarithm", for coin tosses with a uniform mixing law: a value p is ruled out once
    B(hits + 1, misses + 1) / (p^hits (1 - p)^misses) reaches 1 / alpha (Ville's inequality).

    >>> low, high = share_bounds(0, 200, 0.05)
    >>> low, round(high, 4)
    (0.0, 0.0406)
    """
    misses = trials - hits
    if hits < 0 or misses < 0:
        raise InvalidInput(f"hits={hits}, trials={trials}: hits must lie between 0 and trials")
    if not 0 < alpha < 1:
        raise InvalidInput(f"alpha={alpha}: it must lie between 0 and 1")
    mixture = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(trials + 2)
    limit = mixture + math.log(alpha)

    def is_inside(p: float) -> bool:
        return hits * math.log(p) + misses * math.log1p(-p) > limit

    peak = hits / trials if trials else 0.5
    low = 0.0 if hits == 0 else _edge(is_inside, outside=0.0, inside=peak if misses else 1.0)
    high = 1.0 if misses == 0 else _edge(is_inside, outside=1.0, inside=peak if hits else 0.0)
    return low, high


def _edge(is_inside: Callable[[float], bool], outside: float, inside: float) -> float:
    """Bisect to where the interval ends; rounds outwards, so the bound keeps its promise."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside
