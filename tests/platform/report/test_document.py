"""The document holds what was judged and what was counted, and no row."""

from __future__ import annotations

import json
import math

import pytest
from rayloop.platform import report as room
from rayloop.platform.errors import InvalidInput
from rayloop.platform.report import describe_drift, document_bytes, read_stored, render_page, worst_distributions
from rayloop.platform.stats import DriftReport

from .conftest import NOW_S, Compared


def test_public_names_exist() -> None:
    assert [name for name in room.__all__ if not hasattr(room, name)] == []


def test_it_reads_back_as_the_report_and_the_counts(compared: Compared) -> None:
    found = json.loads(document_bytes(compared.document(about={"endpoint": "churn"})))
    assert (found["form"], found["version"], found["title"]) == ("rayloop.drift", 1, "churn v7")
    assert found["about"] == {"endpoint": "churn"}
    assert found["window"] == {"since_s": NOW_S - 3_600, "until_s": NOW_S}
    assert DriftReport.from_dict(found["report"]) == compared.report
    assert read_stored(found) == compared.report
    assert sorted(found["order"]) == sorted(found["distributions"]) == sorted(compared.reference.columns)
    age = found["distributions"]["age"]
    assert age["type"] == "fractional"
    assert age["window"]["mean"] == pytest.approx(50, abs=1)
    assert age["reference"]["values"] == 3_000
    assert found["distributions"]["income"]["window"]["nulls"] > 250
    assert found["distributions"]["vector"]["reference"].keys() == {
        "values",
        "nulls",
        "nans",
        "mean",
        "std",
        "min",
        "max",
    }
    assert found["distributions"]["empty"]["reference"] == {"values": 0, "nulls": 3_000, "nans": 0, "distinct": 0}


def test_the_worst_come_first(compared: Compared) -> None:
    document = compared.document()
    verdicts = {column.column: column.verdict for column in compared.report.columns}
    ranks = [["drift", "possible", "too_few_rows", "none"].index(verdicts[name]) for name in document["order"]]
    assert ranks == sorted(ranks)
    assert list(worst_distributions(document, 2)) == document["order"][:2]
    assert list(worst_distributions(document, 99)) == document["order"]


def test_it_holds_no_text_of_a_single_row(compared: Compared) -> None:
    assert b"user-" not in document_bytes(compared.document())
    assert b"user-" not in render_page(compared.document())


def test_what_is_not_finite_is_null(compared: Compared) -> None:
    assert json.loads(document_bytes({"a": math.inf, "b": [math.nan]})) == {"a": None, "b": [None]}


def test_a_stored_report_may_have_the_job_s_own_keys_beside_it(compared: Compared) -> None:
    assert read_stored(compared.report.to_dict() | {"window": [0, 1], "version": 3}) == compared.report
    with pytest.raises(InvalidInput, match=r"only 'rayloop\.drift' version 1 can be read"):
        read_stored(compared.document() | {"version": 2})
    with pytest.raises(InvalidInput, match="format None"):
        read_stored({"verdict": "stable"})


def test_profiles_on_other_bins_are_refused(compared: Compared) -> None:
    other = compared.window.select(["age"])
    with pytest.raises(InvalidInput, match="only one of the two profiles"):
        describe_drift(compared.report, compared.reference, other, title="x", made_s=0.0)


def test_a_column_that_only_the_report_has_has_no_distribution(compared: Compared) -> None:
    parts = [side.select(["age", "city"]) for side in (compared.reference, compared.window)]
    found = describe_drift(compared.report, *parts, title="x", made_s=0.0)
    assert list(found["distributions"]) == ["age", "city"]
    assert found["window"] == {"since_s": None, "until_s": None}
