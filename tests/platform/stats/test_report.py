"""A report holds no NaN, and survives JSON."""

import json
import math
from dataclasses import replace

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import ColumnDrift, DriftReport

COLUMN = ColumnDrift("x", "numeric", {"js": 0.2, "ks": None}, "js", 0.2, 0.1, 0.01, 0.02, 0.05, "drift", "because")
REPORT = DriftReport(300, 200, (COLUMN,), 1.0, "drift", "all", 0.05)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_none(bad: float) -> None:
    column = replace(COLUMN, statistics={"js": bad, "ks": 0.1}, value=bad, limit=bad, smallest_effect=bad)
    assert column.statistics == {"js": None, "ks": 0.1}
    assert (column.value, column.limit, column.smallest_effect) == (None, None, None)
    report = replace(
        REPORT, columns=(column,), anomalies=({"share": bad, "seen": [bad, 1.0]},), multivariate={"a": bad}
    )
    assert report.anomalies == ({"share": None, "seen": [None, 1.0]},)
    assert report.multivariate == {"a": None}
    assert "NaN" not in json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("field", ["p_value", "adjusted_p"])
@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_a_chance_is_a_chance(field: str, bad: float) -> None:
    with pytest.raises(InvalidInput, match="p-values"):
        replace(COLUMN, **{field: bad})
    with pytest.raises(InvalidInput, match="share"):
        replace(REPORT, drifted_share=bad)


def test_verdicts_are_four() -> None:
    for one in ("drift", "possible", "none", "too_few_rows"):
        assert replace(COLUMN, verdict=one).verdict == one
    with pytest.raises(InvalidInput, match="'stable'"):
        replace(COLUMN, verdict="stable")
    with pytest.raises(InvalidInput, match="'stable'"):
        replace(REPORT, verdict="stable")


def test_survives_json() -> None:
    full = replace(REPORT, compat="evidently", anomalies=({"kind": "new"},), multivariate={"verdict": "none"})
    for report in (REPORT, full):
        values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert values["format"] == 2
        assert DriftReport.from_dict(values) == report
    assert REPORT.drifted == ("x",)
