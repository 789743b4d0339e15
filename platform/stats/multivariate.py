"""Owns the second look at drift: of all columns together, on a sample of raw rows; reads no profile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InvalidInput
from .columns import category_values, is_valid, kind_of, numeric_values
from .report import Verdict
from .tables import as_columns

# N = rows of the reference, M = of the window, F = features, C = components

MAX_ROWS = 50_000
"""Rows that are taken of each side, drawn at random beyond."""
MIN_ROWS = 100
VARIANCE = 0.65
"""Share of the variance that the kept components explain. Source: NannyML's default."""
SIGMAS = 3.0
FOLDS = 5
POSSIBLE_AUC, DRIFT_AUC = 0.55, 0.65
"""Evidently's limit of a classifier's AUC, and NannyML's upper one."""
MAX_CODES = 250
"""Categories with a code of their own; the rest share one. The boosted trees take at most 255."""
IMPORTANCE_ROWS = 4_000


def multivariate_drift(
    reference: Any, current: Any, columns: Sequence[str] | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Look for a change of the columns' joint distribution, in two tables of raw rows.

    Two tests on at most MAX_ROWS rows of each. `reconstruction`: principal components of half the reference;
    the window's error against that of the other half. `classifier`: the cross-validated area under the curve of
    boosted trees that tell the sides apart, 0.5 where nothing differs, and the columns they use. The same seed
    gives the same answer on the same machine. Raises `InvalidInput` for a column that is missing or has no bins.
    """
    ref_table, cur_table = as_columns(reference).table, as_columns(current).table
    names = columns or [name for name in ref_table.column_names if _usable(ref_table, name)]
    for name in names:
        if name not in ref_table.column_names or name not in cur_table.column_names or not _usable(ref_table, name):
            raise InvalidInput(f"column {name!r} must be in both tables, and of numbers, times, booleans or strings")
    generator = np.random.default_rng(seed)
    ref_table, cur_table = _sampled(ref_table, generator), _sampled(cur_table, generator)
    num_rows = min(ref_table.num_rows, cur_table.num_rows)
    shared = {"reference_rows": ref_table.num_rows, "current_rows": cur_table.num_rows, "columns": list(names)}
    if num_rows < MIN_ROWS or not names:
        reason = f"{num_rows} rows and {len(names)} columns, but {MIN_ROWS} rows and a column are needed"
        return shared | {"verdict": "too_few_rows", "reason": reason, "reconstruction": None, "classifier": None}
    ref_NF, cur_MF, is_category_F = _encoded(ref_table, cur_table, names)
    import sklearn.ensemble  # noqa: F401 - the limit below reaches only the libraries that are loaded
    from threadpoolctl import threadpool_limits

    # OpenMP's threads spin while they wait: on a busy machine two of them took over 100 s for what one does in 2.
    with threadpool_limits(1):
        reconstruction = _reconstruction(ref_NF, cur_MF, is_category_F, generator)
        classifier = _classifier(ref_NF, cur_MF, is_category_F, names, generator, seed)
    order: list[Verdict] = ["none", "possible", "drift"]
    verdict = max((reconstruction["verdict"], classifier["verdict"]), key=order.index)
    reason = f"{classifier['reason']}; {reconstruction['reason']}"
    return shared | {
        "verdict": verdict,
        "reason": reason,
        "reconstruction": reconstruction,
        "classifier": classifier,
    }


def _usable(table: pa.Table, name: str) -> bool:
    return kind_of(table.schema.field(name).type) not in (None, "embedding")


def _sampled(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    if table.num_rows <= MAX_ROWS:
        return table
    return table.take(pa.array(np.sort(generator.choice(table.num_rows, MAX_ROWS, replace=False))))


def _encoded(
    reference: pa.Table, current: pa.Table, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers as they are, not finite or null as NaN; categories as codes by their frequency in the reference."""
    sides, is_category = ([], []), []  # type: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]], list[bool]
    for name in names:
        is_category.append(kind_of(reference.schema.field(name).type) in ("categorical", "boolean"))
        codes: Mapping[str, int] = {}
        if is_category[-1]:
            counts = category_values(reference.column(name)).drop_null().value_counts().to_pylist()
            ranked = sorted(counts, key=lambda one: (-one["counts"], one["values"]))[:MAX_CODES]
            codes = {one["values"]: place for place, one in enumerate(ranked)}
        for side, table in zip(sides, (reference, current), strict=True):
            column = table.column(name).combine_chunks()
            if is_category[-1]:
                texts = category_values(column).to_pylist()
                side.append(np.array([np.nan if one is None else codes.get(one, MAX_CODES) for one in texts], float))
                continue
            values_N = numeric_values(column).astype(np.float64)
            if (valid_N := is_valid(column)) is not None:
                values_N = np.where(valid_N, values_N, np.nan)
            side.append(np.where(np.isfinite(values_N), values_N, np.nan))
    return np.column_stack(sides[0]), np.column_stack(sides[1]), np.array(is_category)


def _reconstruction(
    ref_NF: NDArray[np.float64],
    cur_MF: NDArray[np.float64],
    is_category_F: NDArray[np.bool_],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Error of rows put back together from the components that explain most of the reference's variance.

    Source: NannyML's DataReconstructionDriftCalculator: categories by their frequency, means for what is missing,
    unit variance, and three standard deviations. Here the limits come from rows that the components have not seen.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    order_N = generator.permutation(len(ref_NF))
    fit_NF, held_NF = ref_NF[order_N[: len(order_N) // 2]], ref_NF[order_N[len(order_N) // 2 :]]
    sides = [fit_NF.copy(), held_NF.copy(), cur_MF.copy()]
    for place in np.flatnonzero(is_category_F):
        column_N = fit_NF[:, place]
        frequency = np.bincount(column_N[~np.isnan(column_N)].astype(np.int64), minlength=MAX_CODES + 1) / len(column_N)
        for side in sides:
            known_N = ~np.isnan(side[:, place])
            side[known_N, place] = frequency[side[known_N, place].astype(np.int64)]
    counted_F = np.sum(~np.isnan(sides[0]), axis=0)
    mean_F = np.nansum(sides[0], axis=0) / np.maximum(counted_F, 1)
    sides = [np.where(np.isnan(side), mean_F, side) for side in sides]
    scaler = StandardScaler().fit(sides[0])
    varies_F = scaler.var_ > 0
    if not varies_F.any():
        return {"verdict": "none", "reason": "every column of the reference is constant", "components": 0}
    scaled = [np.clip(scaler.transform(side), -1e6, 1e6)[:, varies_F] for side in sides]
    model = PCA(n_components=VARIANCE if varies_F.sum() > 1 else 1, svd_solver="full").fit(scaled[0])
    held_N, cur_M = (
        np.linalg.norm(side - model.inverse_transform(model.transform(side)), axis=1) for side in scaled[1:]
    )
    centre, spread = float(held_N.mean()), float(held_N.std(ddof=1))
    half = SIGMAS * spread * math.sqrt(1 / len(held_N) + 1 / len(cur_M))
    error, components = float(cur_M.mean()), int(model.n_components_)
    found = {"error": error, "reference_error": centre, "low": centre - half, "high": centre + half}
    said = f"reconstruction error {error:.3g} from {components} components, {centre:.3g} in the reference"
    is_outside = abs(error - centre) > half
    # With many rows the interval shrinks to nothing: a tenth of a spread is the least that counts, half of it may.
    shift = abs(error - centre) / spread if spread > 0 else float(is_outside)
    verdict = "none" if not is_outside or shift < 0.05 else "drift" if shift >= 0.1 else "possible"
    return found | {"verdict": verdict, "reason": said, "components": components, "shift": shift}


def _classifier(
    ref_NF: NDArray[np.float64],
    cur_MF: NDArray[np.float64],
    is_category_F: NDArray[np.bool_],
    names: Sequence[str],
    generator: np.random.Generator,
    seed: int,
) -> dict[str, Any]:
    """How well boosted trees tell the window from the reference, on rows that they have not seen.

    Source: Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests".
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    rows = np.vstack([ref_NF, cur_MF])
    for place in range(len(names)):
        # Boosted trees find no bins where nearly all is missing: then it only counts which values are.
        if np.sum(~np.isnan(rows[:, place])) < MIN_ROWS:
            rows[:, place] = np.isnan(rows[:, place])
    is_current = np.repeat([0, 1], [len(ref_NF), len(cur_MF)])
    scores, importance_F = np.zeros(len(rows)), np.zeros(len(names))
    aucs = []
    for fold, (train, test) in enumerate(
        StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, is_current)
    ):
        model = HistGradientBoostingClassifier(
            max_iter=60, early_stopping=False, categorical_features=is_category_F, random_state=seed
        )
        model.fit(rows[train], is_current[train])
        scores[test] = model.predict_proba(rows[test])[:, 1]
        aucs.append(float(roc_auc_score(is_current[test], scores[test])))
        if fold == 0:
            chosen = test if len(test) <= IMPORTANCE_ROWS else generator.choice(test, IMPORTANCE_ROWS, replace=False)
            whole = roc_auc_score(is_current[chosen], scores[chosen])
            for place in range(len(names)):
                mixed = rows[chosen]
                mixed[:, place] = generator.permutation(mixed[:, place])
                importance_F[place] = whole - roc_auc_score(is_current[chosen], model.predict_proba(mixed)[:, 1])
    auc, n, m = float(np.mean(aucs)), len(ref_NF), len(cur_MF)
    noise = math.sqrt((n + m + 1) / (12 * n * m))  # of the Mann-Whitney statistic where nothing differs
    is_certain = auc - 0.5 > SIGMAS * noise
    verdict = "none" if not is_certain or auc <= POSSIBLE_AUC else "drift" if auc > DRIFT_AUC else "possible"
    ranked = sorted(zip(names, importance_F.tolist(), strict=True), key=lambda pair: -pair[1])
    telling = [(name, lost) for name, lost in ranked if lost > noise]
    told = f", by {', '.join(name for name, _ in telling[:3])}" if telling and verdict != "none" else ""
    by = [{"column": name, "auc_lost": lost} for name, lost in telling]
    said = f"a classifier tells the sides apart with AUC {auc:.3f}{told}"
    return {"verdict": verdict, "reason": said, "auc": auc, "standard_error": noise, "by": by}
