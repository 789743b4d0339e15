"""Compares what a shadow answered with what the primary answered to the same requests; it reads no store.

The unit is the request: rows of one request are alike, so intervals count requests and not rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..stats import Estimate, estimate_mean, estimate_share
from . import capture_schema as names

PREDICTION = names.OUTPUT_PREFIX + "prediction"
TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Difference:
    """Shadow minus primary in one number of the output, over the rows in which both are finite."""

    output: str
    rows: int
    difference: Estimate
    absolute: Estimate


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the requests that both sides got; the latency is that of requests which both answered."""

    refused: int
    """Requests with a status of 400-499."""
    failed: int
    """Requests with a status of 500 or more."""
    p50_ms: float | None
    p99_ms: float | None
    rows_alone: int
    """Rows of requests that the other side does not have."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """How alike two versions answered; an estimate is None where no row could be compared."""

    requests: int
    """Requests that both sides got."""
    rows: int
    """Rows that both sides answered."""
    agreement_on: str
    """The output that says whether two rows agree: the prediction, or else all of them."""
    agreement: Estimate | None
    tolerance: float
    """Two numbers agree where they differ by at most this share of the larger one."""
    differences: tuple[Difference, ...]
    primary: Side
    shadow: Side
    p50_ratio: float | None
    """The shadow's latency over the primary's."""
    p99_ratio: float | None
    ambiguous: int
    """Request ids that came more than once on one side; they are left out."""
    not_compared: tuple[str, ...]
    """Outputs that only one side has, or that have another type there."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


# R = requests that both sides got, N = rows that both answered, K = numbers in one output of a row


def compare_answers(primary: pa.Table, shadow: pa.Table, tolerance: float = TOLERANCE) -> ShadowReport:
    """Join two captured sets by request and row, and say how alike the answers are.

    Both have the columns of `capture_schema`, at least id, row, status, latency and outputs.
    """
    sides = [_Requests(table) for table in (primary, shadow)]
    repeated = pa.chunked_array([sides[0].repeated, sides[1].repeated], pa.string()).unique()
    shared = sides[0].ids.filter(pc.is_in(sides[0].ids, value_set=sides[1].ids))
    shared = shared.filter(pc.invert(pc.is_in(shared, value_set=repeated)))
    status_2R, latency_2R = (
        np.array([getattr(side, what)(shared) for side in sides]) for what in ("status", "latency")
    )
    both_R = (status_2R < 400).all(axis=0)
    rows = _Rows.joined(primary, shadow, shared.filter(pa.array(both_R)))
    percentiles = [_percentiles(latency_R[both_R]) for latency_R in latency_2R]
    ignored = pa.chunked_array([shared, repeated], pa.string())
    summed = [
        Side(
            refused=int(((status_R >= 400) & (status_R < 500)).sum()),
            failed=int((status_R >= 500).sum()),
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            rows_alone=_num_outside(table, ignored),
        )
        for table, status_R, (p50_ms, p99_ms) in zip((primary, shadow), status_2R, percentiles, strict=True)
    ]
    agreed_on, agreement = rows.agreement(tolerance)
    return ShadowReport(
        requests=len(shared),
        rows=len(rows.request_N),
        agreement_on=agreed_on,
        agreement=agreement,
        tolerance=tolerance,
        differences=tuple(rows.differences()),
        primary=summed[0],
        shadow=summed[1],
        p50_ratio=_ratio(summed[1].p50_ms, summed[0].p50_ms),
        p99_ratio=_ratio(summed[1].p99_ms, summed[0].p99_ms),
        ambiguous=len(repeated),
        not_compared=rows.not_compared,
    )


class _Requests:
    """The requests of one side, by their first rows."""

    def __init__(self, table: pa.Table) -> None:
        self._first = table.filter(pc.equal(table.column(names.ROW), 0))
        counts = self._first.column(names.REQUEST_ID).combine_chunks().value_counts()
        ids, times = counts.field("values"), counts.field("counts")
        self.ids: pa.Array = ids
        self.repeated: pa.Array = ids.filter(pc.greater(times, 1))

    def status(self, ids: pa.Array) -> np.ndarray:
        return self._of(names.STATUS, ids)

    def latency(self, ids: pa.Array) -> np.ndarray:
        return self._of(names.LATENCY_MS, ids)

    def _of(self, column: str, ids: pa.Array) -> np.ndarray:
        places = pc.index_in(ids, value_set=self._first.column(names.REQUEST_ID).combine_chunks())
        return np.asarray(self._first.column(column).take(places).to_numpy())


class _Rows:
    """Rows that both sides answered, in one order; `request_N` numbers the request of each."""

    def __init__(self, primary: pa.Table, shadow: pa.Table, request_N: np.ndarray) -> None:
        self.request_N = request_N
        outputs = [{n for n in table.column_names if n.startswith(names.OUTPUT_PREFIX)} for table in (primary, shadow)]
        pairs = {name: _pair(primary, shadow, name) for name in sorted(outputs[0] & outputs[1])}
        self._pairs = {name: pair for name, pair in pairs.items() if pair is not None}
        left_out = (outputs[0] | outputs[1]) - set(self._pairs)
        self.not_compared = tuple(sorted(name.removeprefix(names.OUTPUT_PREFIX) for name in left_out))

    @classmethod
    def joined(cls, primary: pa.Table, shadow: pa.Table, ids: pa.Array) -> _Rows:
        """The rows of these requests that both tables hold."""
        places, keys = [], []
        for table in (primary, shadow):
            request = pc.index_in(table.column(names.REQUEST_ID), value_set=ids)
            place = np.flatnonzero(request.is_valid().to_numpy())
            places.append(place)
            row = table.column(names.ROW).take(pa.array(place)).to_numpy()
            keys.append((request.take(pa.array(place)).to_numpy().astype(np.int64) << 32) + row)
        key_N, in_primary, in_shadow = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
        taken = [
            table.take(pa.array(place[chosen]))
            for table, place, chosen in zip((primary, shadow), places, (in_primary, in_shadow), strict=True)
        ]
        return cls(taken[0], taken[1], np.unique(key_N >> 32, return_inverse=True)[1])

    def agreement(self, tolerance: float) -> tuple[str, Estimate | None]:
        """The share of rows that agree, and on what."""
        chosen = [PREDICTION] if PREDICTION in self._pairs else list(self._pairs)
        agreed_on = "prediction" if PREDICTION in self._pairs else "every output"
        if not chosen or not len(self.request_N):
            return agreed_on, None
        same_N = np.all([_same(*self._pairs[name], tolerance).all(axis=1) for name in chosen], axis=0)
        return agreed_on, estimate_share(float(same_N.mean()), trials=int(self.request_N.max()) + 1)

    def differences(self) -> Iterator[Difference]:
        """Shadow minus primary in each number; a prediction of whole numbers is a class, and has none."""
        for name, (primary_NK, shadow_NK) in self._pairs.items():
            if primary_NK.dtype == object or (name == PREDICTION and primary_NK.dtype.kind != "f"):
                continue
            label, width = name.removeprefix(names.OUTPUT_PREFIX), primary_NK.shape[1]
            with np.errstate(invalid="ignore"):  # inf - inf
                gap_NK = shadow_NK.astype(np.float64) - primary_NK.astype(np.float64)
            for k in range(width):
                finite_N = np.isfinite(gap_NK[:, k])
                if finite_N.any():
                    gap, request = gap_NK[finite_N, k], self.request_N[finite_N]
                    yield Difference(
                        label if width == 1 else f"{label}[{k}]",
                        int(finite_N.sum()),
                        estimate_mean(gap, request),
                        estimate_mean(np.abs(gap), request),
                    )


def _pair(primary: pa.Table, shadow: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """One output of both sides, each (N, K); None where the two can't be compared."""
    parts = [_matrix(table.column(name)) for table in (primary, shadow)]
    is_text = {part.dtype == object for part in parts}
    return None if len(is_text) > 1 or parts[0].shape != parts[1].shape else (parts[0], parts[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Values as (N, K): floats, whole numbers, or objects for text."""
    array = column.combine_chunks()
    width = array.type.list_size if pa.types.is_fixed_size_list(array.type) else 1
    flat = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
    if pa.types.is_boolean(flat.type):
        flat = flat.cast(pa.int8())
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, width)


def _same(primary_NK: np.ndarray, shadow_NK: np.ndarray, tolerance: float) -> np.ndarray:
    """Which values agree; NaN agrees with NaN."""
    same = np.asarray(primary_NK == shadow_NK)
    if "f" not in (primary_NK.dtype.kind, shadow_NK.dtype.kind):
        return same
    first, second = primary_NK.astype(np.float64), shadow_NK.astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_near = np.abs(second - first) <= tolerance * np.maximum(np.abs(first), np.abs(second))
    is_finite = np.isfinite(first) & np.isfinite(second)
    return same | (is_near & is_finite) | (np.isnan(first) & np.isnan(second))


def _percentiles(latency_R: np.ndarray) -> tuple[float | None, float | None]:
    if not len(latency_R):
        return None, None
    p50_ms, p99_ms = np.percentile(latency_R, [50, 99])
    return float(p50_ms), float(p99_ms)


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _num_outside(table: pa.Table, ids: pa.ChunkedArray) -> int:
    inside = pc.is_in(table.column(names.REQUEST_ID), value_set=ids.combine_chunks())
    num_inside: int = pc.sum(inside).as_py() or 0
    return int(table.num_rows) - num_inside
