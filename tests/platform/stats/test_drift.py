"""A window drifts when columns do by effect and significance, and never by chance, few rows or other bins."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import DriftLimits, DriftReport, Profile, compare, fit_binnings, profile_table

NUM_REFERENCE = 8_000


def draw(seed: int, rows: int, shift: float = 0.0, nulls: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "normal": rng.normal(shift, 1, rows),
            "spiked": np.where(rng.uniform(size=rows) < 0.6, 0.0, rng.exponential(size=rows)),
            "score": pa.array(rng.uniform(size=rows), mask=rng.uniform(size=rows) < 0.05 + nulls),
            "count": rng.poisson(3, rows),
            "color": rng.choice(["red", "green", "blue", "rare"], rows, p=[0.5, 0.3, 0.195, 0.005]),
            "shop": np.minimum(rng.zipf(1.5, rows), 3_000).astype(str),
            "constant": np.ones(rows),
        }
    )


REFERENCE_TABLE = draw(0, NUM_REFERENCE)
BINNINGS = fit_binnings(REFERENCE_TABLE)
REFERENCE = profile_table(REFERENCE_TABLE, BINNINGS)


def judge(table: pa.Table, **options: object) -> DriftReport:
    return compare(REFERENCE, profile_table(table, BINNINGS), **options)  # type: ignore[arg-type]


def change(table: pa.Table, **columns: object) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def test_windows_of_the_same_source_do_not_drift() -> None:
    reports = [judge(draw(seed, 400)) for seed in range(1, 61)]
    assert {report.verdict for report in reports} == {"none"}
    assert sum(len(report.drifted) for report in reports) == 0
    # Significance alone must hold its level too, or the effect limits would be all that keeps the peace.
    discoveries = [min(column.adjusted_p for column in report.columns) <= 0.05 for report in reports]
    assert np.mean(discoveries) <= 0.12


def test_a_shift_is_found_and_named() -> None:
    report = judge(draw(7, 1_000, shift=0.5))
    assert report.drifted == ("normal",)
    assert report.verdict == "none"
    assert report.drifted_share == pytest.approx(1 / 7)
    found = next(column for column in report.columns if column.column == "normal")
    assert found.statistics["ks"] == pytest.approx(0.197, abs=0.05)
    assert found.p_value < 1e-10
    assert "KS" in found.reason
    assert judge(draw(7, 1_000, shift=0.5), dataset_share=1 / 7).verdict == "drift"
    always = judge(draw(7, 1_000, shift=0.5), always=["normal"])
    assert always.verdict == "drift"
    assert "normal" in always.reason
    assert judge(draw(7, 1_000, shift=0.5), always=["color"]).verdict == "none"


def test_an_effect_without_significance_is_no_drift() -> None:
    rows = draw(3, 40, shift=0.3)
    limits = DriftLimits(min_rows=20, alpha=1e-6)
    found = next(column for column in judge(rows, limits=limits).columns if column.column == "normal")
    assert found.statistics["ks"] is not None
    assert found.statistics["ks"] > limits.ks
    assert found.verdict == "none"
    assert "chance" in found.reason


def test_significance_without_an_effect_is_no_drift() -> None:
    report = judge(draw(4, 20_000, shift=0.1))
    found = next(column for column in report.columns if column.column == "normal")
    assert found.adjusted_p < 0.001
    assert found.verdict == "none"
    assert "within limits" in found.reason


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("score", [None] * 600),
        ("score", [float("nan")] * 300 + [0.5] * 300),
        ("constant", [2.0] * 600),
        ("constant", [float("inf")] * 600),
        ("color", ["violet"] * 90 + ["red"] * 300 + ["green"] * 210),
        ("color", [None] * 600),
        ("spiked", [1e-3] * 360 + list(np.random.default_rng(0).exponential(size=240))),
    ],
)
def test_special_slots_show(name: str, values: list[object]) -> None:
    report = judge(change(draw(5, 600), **{name: values}))
    assert report.drifted == (name,)


def test_lost_values_show_though_the_others_keep_their_distribution() -> None:
    report = judge(draw(6, 600, nulls=0.4))
    found = next(column for column in report.columns if column.column == "score")
    assert found.statistics["ks"] is not None
    assert found.statistics["ks"] < 0.1
    assert found.verdict == "drift"


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_too_few_rows_is_never_drift(rows: int) -> None:
    report = judge(draw(8, rows, shift=9.0), always=["normal"])
    assert report.verdict == "too_few_rows"
    assert {column.verdict for column in report.columns} == {"too_few_rows"}
    assert f"window has {rows} rows" in report.reason
    assert report.drifted == ()
    assert (report.columns[0].statistics["psi"] is None) == (rows == 0)


def test_a_short_reference_is_no_reference() -> None:
    binnings = fit_binnings(draw(0, 50))
    report = compare(*(profile_table(draw(seed, rows), binnings) for seed, rows in ((0, 50), (1, 900))))
    assert report.verdict == "too_few_rows"
    assert "the reference has 50 rows" in report.reason


def test_enough_rows_is_enough() -> None:
    assert judge(draw(8, 200, shift=9.0), always=["normal"]).verdict == "drift"


def test_refuses_other_bins_and_bad_options() -> None:
    other = fit_binnings(draw(1, 500))
    with pytest.raises(InvalidInput, match="different bins"):
        compare(REFERENCE, profile_table(draw(1, 500), other))
    with pytest.raises(InvalidInput, match="only one of the two"):
        compare(REFERENCE, Profile.empty({"normal": BINNINGS["normal"]}))
    with pytest.raises(InvalidInput, match="'nobody'"):
        judge(draw(1, 500), always=["nobody"])
    for share in (0.0, 1.1):
        with pytest.raises(InvalidInput, match="dataset_share"):
            judge(draw(1, 500), dataset_share=share)


@pytest.mark.parametrize(
    "limits",
    [{"psi": 0}, {"psi": float("nan")}, {"ks": 0}, {"ks": 1}, {"alpha": 0}, {"alpha": 1}, {"min_rows": 0}],
)
def test_limits_have_ranges(limits: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        DriftLimits(**limits)  # type: ignore[arg-type]


def test_psi_of_an_unchanged_source_stays_small() -> None:
    mean_psi = np.mean(
        [[column.statistics["psi"] for column in judge(draw(seed, 400)).columns] for seed in range(20)], axis=0
    )
    assert mean_psi.max() < 0.1


def test_report_survives_json_and_pickle() -> None:
    for table in (draw(7, 1_000, shift=0.5), draw(7, 0)):
        report = judge(table)
        again = DriftReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
        assert again == report
        assert pickle.loads(pickle.dumps(report)) == report
    values = judge(draw(7, 300)).to_dict()
    for broken in (
        {},
        values | {"format": 1},
        values | {"color": 1},
        {k: v for k, v in values.items() if k != "columns"},
    ):
        with pytest.raises(InvalidInput):
            DriftReport.from_dict(broken)


def test_columns_come_by_name() -> None:
    names = [column.column for column in judge(draw(1, 300)).columns]
    assert names == sorted(BINNINGS)
