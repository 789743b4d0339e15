"""Owns count, range, mean and spread of finite numbers, and how they add; knows no columns and no bins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..errors import InvalidInput
from .arrays import Array


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, minimum, maximum, mean and sum of squared deviations (m2) of finite numbers.

    Minimum and maximum are None without a number; mean and m2 are None where float64 overflowed.
    """

    count: int = 0
    min: float | None = None
    max: float | None = None
    mean: float | None = 0.0
    m2: float | None = 0.0

    def __post_init__(self) -> None:
        if self.count < 0 or (self.count == 0) != (self.min is None) or (self.min is None) != (self.max is None):
            raise InvalidInput(f"moments of {self.count} numbers cannot have the range {self.min} to {self.max}")

    @classmethod
    def of(cls, values_N: Array) -> "Moments":
        """Compute the moments of finite values in two passes, in float64 whatever their type."""
        if values_N.shape[0] == 0:
            return cls()
        xp = array_namespace(values_N)
        low, high = float(xp.min(values_N)), float(xp.max(values_N))
        with np.errstate(over="ignore", invalid="ignore"):
            wide_N = xp.astype(values_N, xp.float64, copy=False)
            mean = float(xp.mean(wide_N))
            centred_N = wide_N - mean
            m2 = float(xp.sum(centred_N * centred_N))
        return cls.of_sums(values_N.shape[0], low, high, mean, m2)

    @classmethod
    def of_sums(cls, count: int, low: float, high: float, mean: float, m2: float) -> "Moments":
        """Take what was summed elsewhere; what is not finite is None."""
        if not count:
            return cls()
        # -0.0 + 0.0 is 0.0: the sign of zero must not hang on the order of the rows.
        finite_mean = _finite(mean)
        return cls(count, low + 0.0, high + 0.0, finite_mean, None if finite_mean is None else _finite(m2))

    def merge(self, other: "Moments") -> "Moments":
        """Add two disjoint sets of numbers; exact in count and range, mean and m2 to rounding.

        Source: Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm".
        """
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        low = min(one.min for one in (self, other) if one.min is not None)
        high = max(one.max for one in (self, other) if one.max is not None)
        if self.mean is None or other.mean is None:
            return Moments(count, low, high, None, None)
        delta = other.mean - self.mean
        mean = _finite(self.mean + delta * (other.count / count))
        if self.m2 is None or other.m2 is None:
            return Moments(count, low, high, mean, None)
        between = delta * delta * (self.count * (other.count / count))
        return Moments(count, low, high, mean, _finite(self.m2 + other.m2 + between))

    @property
    def std(self) -> float | None:
        """Sample standard deviation, sqrt(m2 / (count - 1)); None below two numbers or after an overflow."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 and self.m2 is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"count": self.count, "min": self.min, "max": self.max, "mean": self.mean, "m2": self.m2}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Moments":
        """Return the moments that `to_dict` wrote."""
        parts = (values[name] for name in ("min", "max", "mean", "m2"))
        return cls(int(values["count"]), *(None if part is None else float(part) for part in parts))
