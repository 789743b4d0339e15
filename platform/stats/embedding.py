"""Owns what is kept of a column of vectors: its mean, and the mean of random features of a Gaussian kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from .binning import Basis

# N = rows, W = width of a vector, R = random features

FEATURES = 256
PAIRS = 4_096
NULL_ROWS = 8_192
SEED = 20_241


@dataclass(frozen=True, slots=True, eq=False)
class VectorSums:
    """Sums over vectors and over their random features; they add, to rounding."""

    count: int
    vectors_W: NDArray[np.float64]
    features_R: NDArray[np.float64]

    @classmethod
    def empty(cls, basis: Basis) -> VectorSums:
        """The sums of no vectors."""
        return cls(0, np.zeros(len(basis.centre)), np.zeros(FEATURES))

    @classmethod
    def of(cls, vectors_NW: NDArray[np.float64], basis: Basis) -> VectorSums:
        """Add finite vectors up."""
        return cls(len(vectors_NW), vectors_NW.sum(axis=0), random_features(vectors_NW, basis).sum(axis=0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorSums) or self.count != other.count:
            return False
        return np.array_equal(self.vectors_W, other.vectors_W) and np.array_equal(self.features_R, other.features_R)

    __hash__ = None  # type: ignore[assignment]

    def merge(self, other: VectorSums) -> VectorSums:
        """Add two disjoint sets of vectors."""
        return VectorSums(
            self.count + other.count, self.vectors_W + other.vectors_W, self.features_R + other.features_R
        )


@lru_cache(maxsize=8)
def _directions(width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(SEED)
    return generator.normal(size=(width, FEATURES)), generator.uniform(0, 2 * np.pi, FEATURES)


def random_features(vectors_NW: NDArray[np.float64], basis: Basis) -> NDArray[np.float64]:
    """Features (N, R) whose products estimate the kernel exp(-d^2 / 2 bandwidth^2) to about 1 / sqrt(R).

    Source: Rahimi and Recht (2007), "Random features for large-scale kernel machines".
    """
    direction_WR, phase_R = _directions(len(basis.centre))
    return np.asarray(np.sqrt(2 / FEATURES) * np.cos(vectors_NW @ (direction_WR / basis.bandwidth) + phase_R))


def distances(vectors_NW: NDArray[np.float64], basis: Basis) -> NDArray[np.float64]:
    """Distance (N,) of each vector from the reference's centre; not finite where the vector is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.sum((vectors_NW - np.asarray(basis.centre)) ** 2, axis=1)))


def fit_basis(vectors_NW: NDArray[np.float64]) -> Basis:
    """Measure centre and spread of a reference; raises `InvalidInput` where no vector has any width."""
    if vectors_NW.shape[1] == 0:
        raise InvalidInput("a column of vectors holds only nulls or empty ones, so it cannot be measured from")
    finite_NW = vectors_NW[np.isfinite(vectors_NW).all(axis=1)]
    if not len(finite_NW):
        return Basis((0.0,) * vectors_NW.shape[1], 1.0)
    generator = np.random.default_rng(SEED)
    left, right = generator.integers(0, len(finite_NW), (2, PAIRS))
    apart = np.sqrt(np.sum((finite_NW[left] - finite_NW[right]) ** 2, axis=1))
    typical = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    basis = Basis(tuple(finite_NW.mean(axis=0).tolist()), typical)
    chosen = finite_NW[np.linspace(0, len(finite_NW) - 1, min(len(finite_NW), NULL_ROWS)).astype(np.int64)]
    if len(chosen) < 2:
        return basis
    spread_RR = np.cov(random_features(chosen, basis), rowvar=False)
    return Basis(basis.centre, typical, float(np.trace(spread_RR)), 2 * float(np.sum(spread_RR**2)))
