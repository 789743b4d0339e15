"""Owns the most frequent texts of a stream in fixed memory, with a bound on their error; knows no bins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

SIZE = 256
"""Texts that are kept; up to so many different ones every count is exact."""


@dataclass(frozen=True, slots=True)
class FrequentTexts:
    """Counts of at most SIZE texts. Each is at most `error` below the truth and never above it.

    `error` is at most total / (SIZE + 1), however the rows were split and merged, and 0 where no more than SIZE
    texts were seen. Source: Misra and Gries (1982), "Finding repeated elements"; merging as in Agarwal et al.
    (2012), "Mergeable summaries".
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    """Most frequent first, ties by name."""
    error: int = 0
    total: int = 0

    @classmethod
    def of(cls, texts: pa.Array, counts: np.ndarray) -> "FrequentTexts":
        """Summarise different texts, each with its count."""
        return _cut(dict(zip(*_largest(texts, counts), strict=True)), 0, int(counts.sum()))

    def merge(self, other: "FrequentTexts") -> "FrequentTexts":
        """Add two disjoint sets of rows."""
        if not other.total:
            return self
        joined = dict(self.counts)
        for text, count in other.counts.items():
            joined[text] = joined.get(text, 0) + count
        return _cut(joined, self.error + other.error, self.total + other.total)


def _largest(texts: pa.Array, counts: np.ndarray) -> tuple[list[str], list[int]]:
    """The texts that can be among the SIZE + 1 largest: a million Python strings would take a second."""
    if len(counts) > SIZE + 1:
        bar = np.partition(counts, len(counts) - SIZE - 1)[len(counts) - SIZE - 1]
        above = np.flatnonzero(counts > bar)
        level = np.flatnonzero(counts == bar)[: SIZE + 1 - len(above)]
        chosen = np.concatenate([above, level])
        return texts.take(pa.array(chosen)).to_pylist(), counts[chosen].tolist()
    return texts.to_pylist(), counts.tolist()


def _cut(joined: dict[str, int], error: int, total: int) -> FrequentTexts:
    ranked = sorted(joined.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ranked) > SIZE:
        lost = ranked[SIZE][1]
        error += lost
        ranked = [(text, count - lost) for text, count in ranked[:SIZE] if count > lost]
    return FrequentTexts(dict(ranked), error, total)
