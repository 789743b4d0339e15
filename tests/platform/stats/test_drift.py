"""A window drifts when columns do by effect and significance, and never by chance, few rows or other bins."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import (
    ColumnDrift,
    DriftLimits,
    DriftReport,
    Profile,
    compare,
    fit_binnings,
    profile_table,
)

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
    assert sum(len(report.drifted) for report in reports) <= 0.05 * len(reports)
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
    assert found.judged == "wasserstein_normed"
    assert found.value == pytest.approx(0.45, abs=0.1)
    assert found.limit == 0.1
    assert "wasserstein_normed" in found.reason
    assert judge(draw(7, 1_000, shift=0.5), dataset_share=1 / 7).verdict == "drift"
    always = judge(draw(7, 1_000, shift=0.5), always=["normal"])
    assert always.verdict == "drift"
    assert "normal" in always.reason
    assert judge(draw(7, 1_000, shift=0.5), always=["color"]).verdict == "none"


def column(report: DriftReport, name: str) -> ColumnDrift:
    return next(one for one in report.columns if one.column == name)


def test_an_effect_without_significance_is_no_drift() -> None:
    found = column(judge(draw(3, 40), limits=DriftLimits(min_rows=20)), "normal")
    assert found.value is not None
    assert found.limit is not None
    assert found.value > found.limit
    assert found.verdict == "none"
    assert "chance explains it" in found.reason


def test_significance_without_an_effect_is_no_drift() -> None:
    reds = np.random.default_rng(4).choice(["red", "green", "blue", "rare"], 20_000, p=[0.53, 0.27, 0.195, 0.005])
    found = column(judge(change(draw(4, 20_000), color=reds)), "color")
    assert found.adjusted_p < 0.05
    assert found.verdict == "none"
    assert "within the limit" in found.reason


def test_half_the_limit_and_significant_is_possible() -> None:
    report = judge(draw(4, 20_000, shift=0.08), always=["normal"])
    found = column(report, "normal")
    assert found.verdict == "possible"
    assert "between half the limit and the limit" in found.reason
    assert report.verdict == "possible"
    assert "possibly also normal" in report.reason
    assert judge(draw(4, 20_000, shift=0.08)).verdict == "none"


def test_too_few_rows_to_tell_is_possible_and_says_so() -> None:
    # One p below alpha that the correction over seven columns takes away.
    found = [column(judge(draw(seed, 60, shift=0.3), limits=DriftLimits(min_rows=20)), "normal") for seed in range(40)]
    unsure = [one for one in found if "too few rows to tell" in one.reason]
    assert {one.verdict for one in unsure} == {"possible"}
    for one in unsure:
        assert one.p_value <= 0.05 < one.adjusted_p
        assert one.smallest_effect is not None
        assert one.limit is not None
        assert one.smallest_effect > one.limit
    assert unsure


def test_the_smallest_effect_shrinks_with_the_rows() -> None:
    names = [one.column for one in judge(draw(1, 300)).columns if one.smallest_effect]
    assert len(names) >= 6
    for name in names:
        few, many = (column(judge(draw(1, rows)), name) for rows in (300, 30_000))
        if few.judged == many.judged:
            assert few.smallest_effect > many.smallest_effect


def test_few_values_are_judged_as_categories() -> None:
    flags = pa.table({"x": pa.array([0] * 9_990 + [1] * 10)})
    known = profile_table(flags, fit_binnings(flags))
    window = pa.table({"x": pa.array([0] * 990 + [1] * 10)})
    found = compare(known, profile_table(window, known.binnings)).columns[0]
    assert found.statistics["wasserstein_normed"] > 0.25
    assert found.judged in ("js", "linf")
    assert found.verdict != "drift"


def test_limits_of_ones_own_judge() -> None:
    limits = DriftLimits(js=None, wasserstein=None, ks=0.15)
    found = column(judge(draw(7, 1_000, shift=0.5), limits=limits), "normal")
    assert (found.judged, found.limit, found.verdict) == ("ks", 0.15, "drift")
    nothing = DriftLimits(js=None, wasserstein=None, linf=None, mmd=None)
    found = column(judge(draw(7, 1_000, shift=0.5), limits=nothing), "normal")
    assert (found.judged, found.verdict, found.reason) == (None, "none", "nothing to compare")
    calibrated = judge(draw(7, 1_000, shift=0.5), calibrated={"normal": {"wasserstein_normed": 0.6, "js": 0.6}})
    assert column(calibrated, "normal").verdict == "possible"
    with pytest.raises(InvalidInput, match="'nobody'"):
        judge(draw(1, 300), calibrated={"nobody": {"js": 0.1}})


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
    found = column(judge(draw(6, 600, nulls=0.4)), "score")
    assert found.statistics["ks"] < 0.1
    assert found.judged == "js"
    assert found.verdict == "drift"


@pytest.mark.parametrize(
    ("name", "values", "remark"),
    [
        ("score", [None] * 600, "no row of the window holds a value"),
        ("normal", [float("inf")] * 300 + [0.0] * 300, "the window holds 300 infinite values"),
        ("constant", [1.0] * 600, "the reference holds one single value"),
        ("constant", [2.0] * 600, "the reference holds one single value"),
    ],
)
def test_bad_columns_are_named(name: str, values: list[object], remark: str) -> None:
    assert column(judge(change(draw(5, 600), **{name: values})), name).reason.endswith(f"; {remark}")


def test_a_million_different_strings() -> None:
    texts = pa.table({"id": pa.array(np.arange(1_000_000)).cast(pa.string())})
    known = profile_table(texts, fit_binnings(texts))
    others = pa.table({"id": pa.array(np.arange(5_000_000, 5_001_000)).cast(pa.string())})
    for window in (others, texts.slice(0, 1_000)):
        found = compare(known, profile_table(window, known.binnings)).columns[0]
        assert found.verdict == "none"
        assert "different texts, each too rare to be compared" in found.reason
    same = pa.table({"id": pa.array(["7"] * 900 + ["x"] * 100)})
    assert compare(known, profile_table(same, known.binnings)).columns[0].verdict in ("none", "drift")


def test_a_reference_without_a_value() -> None:
    nothing = pa.table({"x": pa.array([None] * 500, pa.float64()), "y": pa.array([None] * 500, pa.string())})
    known = profile_table(nothing, fit_binnings(nothing))
    full = pa.table({"x": np.arange(500.0), "y": pa.array(["a"] * 500)})
    for found in compare(known, profile_table(full, known.binnings)).columns:
        assert found.verdict == "drift"
        assert found.reason.endswith("; no row of the reference holds a value")
    assert compare(known, known).verdict == "none"


def test_a_prediction_drifts_like_a_feature() -> None:
    generator = np.random.default_rng(3)
    known = pa.table({"output.prediction": generator.choice(["no", "yes"], 5_000, p=[0.9, 0.1])})
    reference = profile_table(known, fit_binnings(known))
    more = pa.table({"output.prediction": generator.choice(["no", "yes"], 600, p=[0.7, 0.3])})
    report = compare(reference, profile_table(more, reference.binnings), always=["output.prediction"])
    assert report.verdict == "drift"
    assert report.columns[0].statistics["linf"] == pytest.approx(0.2, abs=0.05)


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
    [
        *({name: bad} for name in ("js", "linf", "mmd", "ks") for bad in (0, 1, float("nan"))),
        *({name: bad} for name in ("psi", "wasserstein") for bad in (0, float("nan"), float("inf"))),
        {"alpha": 0},
        {"alpha": 1},
        {"min_rows": 0},
    ],
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
