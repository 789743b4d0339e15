"""Owns the distinct sketch: about how many different values a column holds; knows hashes, not what was hashed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InvalidInput

# H = hashes

SIZE = 1_024
"""Smallest hashes that are kept; below so many different values the count is exact."""

STANDARD_ERROR = 1 / np.sqrt(SIZE - 2)
"""Relative, 3.1 %, above SIZE different values."""

FIRST, SECOND, SHIFT = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 32


def _no_hashes() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class DistinctSketch:
    """The SIZE smallest hashes of the values seen, in order. Merging is exact, whatever the order and grouping.

    Source: Bar-Yossef et al. (2002), "Counting distinct elements in a data stream", algorithm 2; the unbiased
    estimate is that of Beyer et al. (2007), "On synopses for distinct-value estimation".
    """

    hashes_H: NDArray[np.uint64] = field(default_factory=_no_hashes)

    def __post_init__(self) -> None:
        if len(self.hashes_H) > SIZE or (np.diff(self.hashes_H) == 0).any():
            raise InvalidInput(f"a distinct sketch holds at most {SIZE} different hashes, not {len(self.hashes_H)}")

    @classmethod
    def of_hashes(cls, hashes_N: NDArray[np.uint64]) -> "DistinctSketch":
        """Keep the smallest of some hashes."""
        if len(hashes_N) > 4 * SIZE:
            # Most hashes can't be among the smallest: 16 of them are expected below this bound for each that is kept.
            bound = np.uint64(min(2**64 - 1, 16 * SIZE * (2**64 // len(hashes_N))))
            low_N = hashes_N[hashes_N < bound]
            if len(found_H := np.unique(low_N)) >= SIZE:
                return cls(found_H[:SIZE])
        return cls(np.unique(hashes_N)[:SIZE])

    def merge(self, other: "DistinctSketch") -> "DistinctSketch":
        """Add two sets of values, which may share some."""
        if not len(other.hashes_H):
            return self
        return DistinctSketch(np.union1d(self.hashes_H, other.hashes_H)[:SIZE])

    @property
    def is_exact(self) -> bool:
        """True where the estimate is the number itself."""
        return len(self.hashes_H) < SIZE

    @property
    def estimate(self) -> float:
        """How many different values were seen."""
        if self.is_exact:
            return float(len(self.hashes_H))
        return (SIZE - 1) / ((float(self.hashes_H[-1]) + 1) / 2.0**64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistinctSketch) and np.array_equal(self.hashes_H, other.hashes_H)

    __hash__ = None  # type: ignore[assignment]


def hash_bits(bits_N: Any, xp: Any = np) -> Any:
    """Spread 64-bit patterns (N,) evenly over 64 bits; 0 is never returned. Multiplies and shifts, as xmx mixers do.

    `xp` is NumPy or CuPy.
    """
    mixed_N = bits_N * xp.uint64(FIRST)
    mixed_N ^= mixed_N >> xp.uint64(SHIFT)
    mixed_N *= xp.uint64(SECOND)
    mixed_N ^= mixed_N >> xp.uint64(SHIFT)
    return xp.maximum(mixed_N, xp.uint64(1))


def hash_numbers(values_N: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Hash finite numbers by their value: the same as float32 and float64, and for 0 and -0."""
    wide_N = np.asarray(values_N, dtype=np.float64) + 0.0
    hashes_N: NDArray[np.uint64] = hash_bits(wide_N.view(np.uint64))
    return hashes_N


def hash_texts(texts: pa.Array) -> NDArray[np.uint64]:
    """Hash strings without nulls by their UTF-8 bytes, by the SipHash of pandas."""
    from pandas.util import hash_array

    return np.maximum(hash_array(texts.to_numpy(zero_copy_only=False).astype(object), categorize=False), np.uint64(1))
