"""What is said of two captured sets is what was put into them, worked out by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from rayloop.platform.traffic.shadow import compare_answers


def answers(
    requests: Sequence[tuple[str, int, float]], outputs: Mapping[str, Any], rows: Sequence[int] | None = None
) -> pa.Table:
    """Captured rows of (request id, status, latency in ms); `rows` has the number of each row in its request."""
    ids, statuses, latencies = zip(*requests, strict=True) if requests else ((), (), ())
    return pa.table(
        {
            "request_id": pa.array(ids, pa.string()),
            "row": pa.array(rows if rows is not None else [0] * len(ids), pa.int32()),
            "status": pa.array(statuses, pa.int32()),
            "latency_ms": pa.array(latencies, pa.float64()),
            **{f"output.{name}": values for name, values in outputs.items()},
        }
    )


def good(num: int, latency_ms: float = 1.0) -> list[tuple[str, int, float]]:
    return [(f"r{place}", 200, latency_ms) for place in range(num)]


def test_classes_agree_where_they_are_equal() -> None:
    primary = answers(good(8), {"prediction": ["a", "b", "a", "b", "a", "b", "a", "b"]})
    shadow = answers(good(8)[::-1], {"prediction": ["a"] * 8})
    report = compare_answers(primary, shadow)
    assert (report.requests, report.rows, report.agreement_on) == (8, 8, "prediction")
    assert report.agreement is not None
    assert report.agreement.mean == 0.5
    # Wilson's interval of 4 in 8.
    assert (report.agreement.low, report.agreement.high) == pytest.approx((0.21521, 0.78479), abs=1e-5)
    assert report.differences == ()


def test_numbers_agree_within_the_tolerance_of_the_larger() -> None:
    primary = answers(good(6), {"prediction": [100.0, 100.0, 0.0, math.nan, math.nan, math.inf]})
    shadow = answers(good(6), {"prediction": [101.0, 102.0, 0.0, math.nan, 1.0, math.inf]})
    report = compare_answers(primary, shadow, tolerance=0.01)
    assert report.agreement is not None
    assert report.agreement.mean == pytest.approx(4 / 6)
    (difference,) = report.differences
    assert (difference.output, difference.rows) == ("prediction", 3)
    assert difference.difference.mean == pytest.approx(1.0)
    strict = compare_answers(primary, shadow, tolerance=0.0)
    assert strict.agreement is not None
    assert strict.agreement.mean == 0.5


def test_a_mean_difference_has_student_s_interval() -> None:
    gaps = [1.0, 2.0, 3.0, 4.0, 5.0, -3.0]
    primary = answers(good(6), {"value": [10.0] * 6})
    shadow = answers(good(6), {"value": [10.0 + gap for gap in gaps]})
    (found,) = compare_answers(primary, shadow).differences
    # t(5) is 2.5706; the gaps have mean 2 and variance 8, their sizes mean 3 and variance 2.
    assert found.difference.mean == pytest.approx(2)
    half = 2.5706 * math.sqrt(8 / 6)
    assert (found.difference.low, found.difference.high) == pytest.approx((2 - half, 2 + half), abs=5e-3)
    assert found.absolute.mean == pytest.approx(3)
    half = 2.5706 * math.sqrt(2 / 6)
    assert (found.absolute.low, found.absolute.high) == pytest.approx((3 - half, 3 + half), abs=5e-3)


def test_rows_of_one_request_count_as_one_for_the_interval() -> None:
    gaps = [1.0, 2.0, 3.0, 4.0, 5.0, -3.0]
    requests, gap_of_row, rows = [], [], []
    for (name, status, latency), gap in zip(good(6), gaps, strict=True):
        for row in range(50):
            requests.append((name, status, latency))
            gap_of_row.append(gap)
            rows.append(row)
    primary = answers(requests, {"value": [0.0] * 300}, rows)
    shadow = answers(requests, {"value": gap_of_row}, rows)
    (many,) = compare_answers(primary, shadow).differences
    (few,) = compare_answers(answers(good(6), {"value": [0.0] * 6}), answers(good(6), {"value": gaps})).differences
    assert many.rows == 300
    assert (many.difference.low, many.difference.high) == pytest.approx((few.difference.low, few.difference.high))


def test_each_number_of_a_wide_output_is_told_apart() -> None:
    wide = pa.list_(pa.float32(), 2)
    primary = answers(good(2), {"prediction": [1, 0], "probability": pa.array([[0.25, 0.75], [0.5, 0.5]], wide)})
    shadow = answers(good(2), {"prediction": [1, 1], "probability": pa.array([[0.5, 0.5], [0.75, 0.25]], wide)})
    report = compare_answers(primary, shadow)
    means = {found.output: found.difference.mean for found in report.differences}
    assert means == {"probability[0]": 0.25, "probability[1]": -0.25}
    assert report.differences[0].difference.low is None  # two requests say nothing of the spread
    assert report.agreement is not None
    assert (report.agreement.mean, report.agreement.low) == (0.5, None)


def test_without_a_prediction_every_output_must_agree() -> None:
    primary = answers(good(4), {"low": [1.0, 1.0, 1.0, 1.0], "high": [2, 2, 2, 2]})
    shadow = answers(good(4), {"low": [1.0, 1.0, 9.0, 9.0], "high": [2, 3, 2, 3]})
    report = compare_answers(primary, shadow)
    assert report.agreement_on == "every output"
    assert report.agreement is not None
    assert report.agreement.mean == 0.25
    assert {found.output: found.difference.mean for found in report.differences} == {"low": 4.0, "high": 0.5}


def test_latency_and_errors_of_each_side() -> None:
    primary = [(f"r{place}", 200, float(place + 1)) for place in range(101)] + [("bad", 400, 9e9), ("ill", 500, 9e9)]
    shadow = [(f"r{place}", 200, 2.0 * (place + 1)) for place in range(101)] + [("bad", 422, 9e9), ("ill", 200, 9e9)]
    shadow[0] = ("r0", 503, 9e9)
    values = {"prediction": [1] * 103}
    report = compare_answers(answers(primary, values), answers(shadow, values))
    assert (report.requests, report.rows) == (103, 100)
    assert (report.primary.refused, report.primary.failed) == (1, 1)
    assert (report.shadow.refused, report.shadow.failed) == (1, 1)
    assert (report.primary.p50_ms, report.shadow.p50_ms, report.p50_ratio) == (51.5, 103.0, 2.0)
    assert report.primary.p99_ms == pytest.approx(100.01)
    assert report.p99_ratio == pytest.approx(2.0)


def test_rows_without_a_partner_and_ids_that_came_twice() -> None:
    primary = answers(
        [("a", 200, 1.0), ("a", 200, 1.0), ("b", 200, 1.0), ("c", 200, 1.0), ("c", 200, 1.0)],
        {"prediction": [1, 2, 3, 4, 5]},
        rows=[0, 1, 0, 0, 0],
    )
    shadow = answers(
        [("a", 200, 1.0), ("a", 200, 1.0), ("c", 200, 1.0), ("d", 200, 1.0), ("d", 200, 1.0)],
        {"prediction": [1, 9, 4, 1, 1]},
        rows=[1, 0, 0, 1, 0],
    )
    report = compare_answers(primary, shadow)
    assert (report.requests, report.rows, report.ambiguous) == (1, 2, 1)
    assert (report.primary.rows_alone, report.shadow.rows_alone) == (1, 2)
    assert report.agreement is not None
    assert report.agreement.mean == 0.0  # row 0 is 1 against 9, row 1 is 2 against 1


def test_what_cannot_be_compared_is_named() -> None:
    primary = answers(good(5), {"prediction": [1] * 5, "text": ["a"] * 5, "old": [1.0] * 5})
    shadow = answers(good(5), {"prediction": [1.0] * 5, "text": [1.0] * 5, "new": [1.0] * 5})
    report = compare_answers(primary, shadow)
    assert report.not_compared == ("new", "old", "text")
    assert report.agreement is not None
    assert report.agreement.mean == 1.0


@pytest.mark.parametrize("is_empty", [(True, False), (False, True), (True, True)])
def test_nothing_to_compare_is_said_and_not_divided_by(is_empty: tuple[bool, bool]) -> None:
    tables = [
        answers([], {"prediction": pa.array([], pa.int64())}) if empty else answers(good(3), {"prediction": [1, 2, 3]})
        for empty in is_empty
    ]
    report = compare_answers(*tables)
    assert (report.requests, report.rows, report.agreement, report.p50_ratio) == (0, 0, None, None)
    assert report.differences == ()
    alone = (report.primary.rows_alone, report.shadow.rows_alone)
    assert alone == tuple(0 if empty else 3 for empty in is_empty)
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_report_is_json_and_leaves_its_tables_alone() -> None:
    primary = answers(good(9), {"prediction": [1.5] * 9, "is_sure": [True] * 9})
    shadow = answers(good(9), {"prediction": [1.5] * 9, "is_sure": [False] * 9})
    report = compare_answers(primary, shadow)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["agreement"]["mean"] == 1.0
    assert {found.output: found.difference.mean for found in report.differences} == {"prediction": 0.0, "is_sure": -1.0}
    assert compare_answers(primary, shadow) == report
