"""Metrics of labelled predictions, each with a 95 % interval that takes requests for independent, and not rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..stats.estimate import Estimate, estimate_mean, estimate_share
from .outcomes import UNKNOWN_CLASS, Floats, Ints, Outcomes

# N = labelled predictions, K = classes, G = values that differ

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "auc", "log_loss")
REGRESSION = ("mae", "rmse", "bias")


def measure_classes(outcomes: Outcomes, num_classes: int) -> dict[str, Estimate]:
    """accuracy, precision, recall, f1, auc and log_loss, as `validate.classification_metrics` defines them.

    A label that is no class of the version counts as an error, and is left out of `auc` and `log_loss`. A metric that
    is undefined on these rows is left out.
    """
    if not len(outcomes):
        return {}
    target_N, predicted_N, group_N = outcomes.target_N, outcomes.predicted_N, outcomes.group_N
    found = {"accuracy": _share((target_N == predicted_N).astype(np.float64), np.ones(len(target_N)), group_N)}
    # Two classes: class 1 is the positive one. More: the mean over classes.
    classes = [1] if num_classes == 2 else [k for k in range(num_classes) if k in target_N or k in predicted_N]
    counts = [_counts(target_N, predicted_N, k) for k in classes]
    ratios: Mapping[str, Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]] = {
        "precision": lambda hit, wrong, _missed: (hit, hit + wrong),
        "recall": lambda hit, _wrong, missed: (hit, hit + missed),
        "f1": lambda hit, wrong, missed: (2 * hit, 2 * hit + wrong + missed),
    }
    for name, parts in ratios.items():
        pairs = [parts(*count) for count in counts]
        if len(pairs) == 1 and name != "f1":
            found[name] = _share(*pairs[0], group_N)
        elif pairs:
            found[name] = _mean_of([_ratio(*pair) for pair in pairs], group_N, 0.0, 1.0)
    known = outcomes.take(target_N != UNKNOWN_CLASS)
    if len(known) and np.isfinite(known.scores_NK).all() and (known.scores_NK.sum(axis=1) > 0).all():
        found |= _scored(known, num_classes)
    return found


def measure_numbers(outcomes: Outcomes) -> dict[str, Estimate]:
    """mae, rmse and bias (prediction minus label, in the mean) in the target's own unit."""
    error_N = outcomes.predicted_N - outcomes.target_N
    is_number_N = np.isfinite(error_N)
    error_N, group_N = error_N[is_number_N], outcomes.group_N[is_number_N]
    if not len(error_N):
        return {}
    squared = estimate_mean(error_N**2, group_N)
    low, high = (None if bound is None else math.sqrt(max(bound, 0.0)) for bound in (squared.low, squared.high))
    return {
        "mae": estimate_mean(np.abs(error_N), group_N),
        "rmse": Estimate(math.sqrt(squared.mean), low, high),
        "bias": estimate_mean(error_N, group_N),
    }


def errors_of(outcomes: Outcomes, *, is_classes: bool) -> Floats:
    """The error of each labelled prediction: 0 or 1, or how far it was off."""
    target_N, predicted_N = outcomes.target_N, outcomes.predicted_N
    error_N: Floats = (target_N != predicted_N).astype(np.float64) if is_classes else np.abs(predicted_N - target_N)
    return error_N


def area_under_curve(score_N: Floats, positive_N: NDArray[np.bool_]) -> Floats:
    """Each row's part in the area under the ROC curve, which is their mean; both classes must be there.

    A row's part is what the area would lose without it, as the influence function of the Mann-Whitney statistic has
    it. Source: the placement values of DeLong, DeLong and Clarke-Pearson (1988).

    >>> float(area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).mean())
    0.75
    """
    value_G, place_N = np.unique(score_N, return_inverse=True)
    of_positives_G = np.bincount(place_N[positive_N], minlength=len(value_G)).astype(np.float64)
    of_negatives_G = np.bincount(place_N[~positive_N], minlength=len(value_G)).astype(np.float64)
    positives, negatives = of_positives_G.sum(), of_negatives_G.sum()
    below_G = (np.cumsum(of_negatives_G) - 0.5 * of_negatives_G) / negatives
    above_G = 1.0 - (np.cumsum(of_positives_G) - 0.5 * of_positives_G) / positives
    area = float(below_G @ of_positives_G) / positives
    share = positives / len(score_N)
    weight_N = np.where(positive_N, 1.0 / share, 1.0 / (1.0 - share))
    part_N: Floats = area + (np.where(positive_N, below_G[place_N], above_G[place_N]) - area) * weight_N
    return part_N


def _scored(known: Outcomes, num_classes: int) -> dict[str, Estimate]:
    target_N = known.target_N.astype(np.int64)
    score_NK = known.scores_NK / known.scores_NK.sum(axis=1, keepdims=True)
    eps = np.finfo(np.float64).eps  # as scikit-learn clips
    loss_N = -np.log(np.clip(score_NK[np.arange(len(target_N)), target_N], eps, 1 - eps))
    found = {"log_loss": estimate_mean(loss_N, known.group_N)}
    if len(np.unique(target_N)) == num_classes:
        classes = [1] if num_classes == 2 else list(range(num_classes))
        parts = [area_under_curve(score_NK[:, k], target_N == k) for k in classes]
        found["auc"] = _mean_of(parts, known.group_N, 0.0, 1.0)
    return found


def _counts(target_N: Floats, predicted_N: Floats, k: int) -> tuple[Floats, Floats, Floats]:
    is_N, said_N = target_N == k, predicted_N == k
    hit_N, wrong_N, missed_N = is_N & said_N, ~is_N & said_N, is_N & ~said_N
    return hit_N.astype(np.float64), wrong_N.astype(np.float64), missed_N.astype(np.float64)


def _share(hit_N: Floats, of_N: Floats, group_N: Ints) -> Estimate:
    """A share: Wilson's interval where each request has one row, else one that takes a request's rows for alike."""
    trials = int(of_N.sum())
    if not trials:
        return Estimate(0.0, None, None)  # as scikit-learn has it where nothing was predicted or nothing is there
    group_of_trial = group_N[of_N > 0]
    share = float(hit_N.sum() / trials)
    if len(np.unique(group_of_trial)) == len(group_of_trial):
        return estimate_share(share, trials)
    return _mean_of([_ratio(hit_N, of_N)], group_N, 0.0, 1.0)


def _ratio(over_N: Floats, under_N: Floats) -> Floats:
    """Each row's part in the ratio of two sums, which is their mean; 0 where nothing is below the line."""
    mean = float(under_N.mean())
    if not mean:
        return np.zeros(len(over_N))
    ratio = float(over_N.mean()) / mean
    return ratio + (over_N - ratio * under_N) / mean


def _mean_of(parts: list[Floats], group_N: Ints, least: float, most: float) -> Estimate:
    found = estimate_mean(np.mean(parts, axis=0), group_N)
    if found.low is None or found.high is None:
        return found
    return Estimate(found.mean, max(found.low, least), min(found.high, most))
