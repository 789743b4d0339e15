"""Owns how far two sets of vectors lie apart, from their sums alone; knows no bins and no limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .profiles import ColumnProfile
from .significance import gamma_p_value, gamma_quantile


@dataclass(frozen=True, slots=True)
class EmbeddingDrift:
    """Distance of two sets of vectors."""

    mean_distance: float
    """Of their means, in the kernel's bandwidth, which is the median distance of two reference vectors; 0 and up."""
    mmd: float
    """Maximum mean discrepancy less what chance alone gives in the mean, in [0, sqrt(2)] to the features' accuracy."""
    p_value: float


def embedding_drift(reference: ColumnProfile, current: ColumnProfile) -> EmbeddingDrift | None:
    """Compare the means of vectors and of their random features; None without a vector on both sides.

    The squared discrepancy T has under no drift the mean and the variance that the basis states, times
    1/n + 1/m and its square; p is that of a gamma variable of these two. Source: Gretton et al. (2012), "A kernel
    two-sample test", section 5 for the gamma; Rahimi and Recht (2007) for the features.
    """
    basis, ref, cur = reference.binning.basis, reference.vectors, current.vectors
    if basis is None or ref is None or cur is None or not ref.count or not cur.count:
        return None
    apart = float(np.linalg.norm(ref.vectors_W / ref.count - cur.vectors_W / cur.count)) / basis.bandwidth
    squared = float(np.sum((ref.features_R / ref.count - cur.features_R / cur.count) ** 2))
    scale = 1 / ref.count + 1 / cur.count
    mean, variance = basis.null_mean * scale, basis.null_variance * scale**2
    # Vectors that are all alike have no spread to measure against: then any distance is one.
    p_value = gamma_p_value(squared, mean, variance) if variance > 0 else float(squared <= mean + 1e-12)
    return EmbeddingDrift(apart, math.sqrt(max(squared - mean, 0.0)), p_value)


def smallest_mmd(reference: ColumnProfile, num_reference: int, num_current: int, alpha: float) -> float | None:
    """The discrepancy, less its mean, that chance passes with probability alpha; None without a basis."""
    basis = reference.binning.basis
    if basis is None:
        return None
    scale = 1 / num_reference + 1 / num_current
    mean, variance = basis.null_mean * scale, basis.null_variance * scale**2
    return math.sqrt(max(gamma_quantile(alpha, mean, variance) - mean, 0.0))
