"""Owns the judgement whether a model is quick enough to be called on the event loop; it calls none."""

from __future__ import annotations

QUICK_NS = 2_000_000  # a loop that stands still for so long delays nobody's health check
SLOW_NS = 20_000_000
_WEIGHT = 8


class Pace:
    """A running mean of how long batches take; one that took very long counts in full.

    Until some were seen, and for dozens of batches after a very long one, the model counts as slow.

    >>> pace = Pace()
    >>> for _ in range(40):
    ...     pace.saw(100_000)
    >>> pace.is_quick
    True
    >>> pace.saw(5_000_000_000)
    >>> pace.is_quick
    False
    """

    __slots__ = ("_mean_ns",)

    def __init__(self) -> None:
        self._mean_ns = float(4 * QUICK_NS)

    @property
    def is_quick(self) -> bool:
        """Whether the next batch may run on the loop."""
        return self._mean_ns < QUICK_NS

    def saw(self, took_ns: int) -> None:
        """Take the time of one batch into account."""
        self._mean_ns = took_ns if took_ns > SLOW_NS else self._mean_ns + (took_ns - self._mean_ns) / _WEIGHT
