"""Reference rows and captured rows become the same columns, so that only their values can differ."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.model.artifact import LoadedModel
from rayloop.platform.model.monitored import PREDICTION, as_monitored, captured_rows, monitored_capture
from rayloop.platform.model.schema import Feature, Schema, Target, table_columns
from rayloop.platform.model.signature import NUMPY_DTYPE
from rayloop.platform.stats import Binning, ParquetFiles, Profile, count_portions, fit_binnings, profile_table
from rayloop.platform.traffic.capture_schema import SHADOW_VARIANT, TIME, VARIANT, arrow_schema
from rayloop.platform.traffic.captured import Window

TIMES = pa.timestamp("us", tz="UTC")
WINDOW = Window(1_700_000_000.0, 1_700_000_060.0)

ROWS = 400
TABLE = pa.table(
    {
        "id": np.arange(ROWS),
        "age": np.linspace(20, 60, ROWS),
        "city": ["Bonn", "Ulm"] * (ROWS // 2),
        "member": [True, False] * (ROWS // 2),
        "at": pa.array(np.arange(ROWS) * 10**9 * 3600, pa.timestamp("ns")),
    }
)
FEATURES = (
    Feature("age", "numeric", "FP64"),
    Feature("city", "categorical", "BYTES", categories=("Bonn", "Ulm")),
    Feature("member", "numeric", "BOOL"),
    Feature("at", "numeric", "FP64"),
)
CLASSES = Schema(FEATURES, Target("label", "INT64", (3, 7)))
NUMBER = Schema(FEATURES, Target("label", "FP64"))


def captured(schema: Schema, prediction: np.ndarray, num_failed: int) -> pa.Table:
    """What capture writes of the same rows: inputs in the signature's types, and nulls for failed requests."""
    columns = table_columns(TABLE, [feature.name for feature in schema.features])
    columns["member"] = columns["member"].astype(bool)
    written = {f"input.{name}": pa.array(values.tolist()) for name, values in columns.items()}
    written["output.prediction"] = pa.array(prediction.tolist())
    types = arrow_schema(schema.signature())
    table = pa.table({name: values.cast(types.field(name).type) for name, values in written.items()})
    failed = pa.table({field.name: pa.nulls(num_failed, field.type) for field in table.schema})
    table = pa.concat_tables([table, failed])
    times = pa.array([round(WINDOW.since_s * 1e6)] * table.num_rows).cast(TIMES)
    return table.append_column(TIME, times).append_column(VARIANT, pa.nulls(table.num_rows, pa.string()))


def count(schema: Schema, rows: pa.Table, binnings: Mapping[str, Binning], folder: Path) -> Profile:
    pq.write_table(rows, folder / "rows.parquet")
    files = ParquetFiles(fs.LocalFileSystem(), [str(folder / "rows.parquet")])
    selection = captured_rows(schema, binnings, WINDOW)
    return count_portions(files, files.portions(selection), selection, binnings)


@pytest.mark.parametrize(
    ("schema", "prediction"),
    [(CLASSES, np.array([3, 7] * (ROWS // 2))), (NUMBER, np.linspace(0, 1, ROWS))],
    ids=["classes", "number"],
)
def test_the_same_rows_do_not_drift(schema: Schema, prediction: np.ndarray, tmp_path: Path) -> None:
    reference = as_monitored(schema, TABLE, prediction)
    names = ["input.age", "input.city", "input.member", "input.at", PREDICTION]
    assert reference.column_names == names
    binnings = fit_binnings(reference)
    found = count(schema, captured(schema, prediction, num_failed=25), binnings, tmp_path)
    assert found.rows == ROWS
    for name, column in profile_table(reference, binnings).columns.items():
        assert found.columns[name].counts.tolist() == column.counts.tolist(), name


def test_a_class_is_text_and_a_number_stays() -> None:
    assert as_monitored(CLASSES, TABLE, np.array([3, 7] * (ROWS // 2)))[PREDICTION].type == pa.string()
    assert as_monitored(NUMBER, TABLE, np.ones(ROWS))[PREDICTION].type == pa.float64()


def test_rows_of_other_times_and_of_shadows_do_not_count(tmp_path: Path) -> None:
    prediction = np.array([3, 7] * (ROWS // 2))
    binnings = fit_binnings(as_monitored(CLASSES, TABLE, prediction))
    rows = captured(CLASSES, prediction, num_failed=0)
    shadow = rows.set_column(rows.column_names.index(VARIANT), VARIANT, pa.array([SHADOW_VARIANT] * ROWS))
    late = rows.set_column(
        rows.column_names.index(TIME), TIME, pa.array([round(WINDOW.until_s * 1e6)] * ROWS).cast(TIMES)
    )
    found = count(CLASSES, pa.concat_tables([shadow, late, rows.slice(0, 7)]), binnings, tmp_path)
    assert found.rows == 7
    assert count(CLASSES, captured(CLASSES, prediction, num_failed=5).slice(ROWS), binnings, tmp_path).rows == 0


def as_captured(schema: Schema, columns: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> pa.Table:
    """What capture writes: wide columns as lists, and, last, one failed request, which is nulls or lists of nulls."""
    signature = schema.signature()
    types, found = arrow_schema(signature), {}
    for prefix, specs, values in (("input.", signature.inputs, columns), ("output.", signature.outputs, answers)):
        for spec in specs:
            null = None if spec.width == 1 else [None] * spec.width
            rows = [*values[spec.name].astype(NUMPY_DTYPE[spec.datatype]).tolist(), null]
            found[prefix + spec.name] = pa.array(rows, types.field(prefix + spec.name).type)
    return pa.table(found)


@pytest.mark.parametrize(
    "name", ["labels", "pixels", "pictures", "pictures-grey-text", "bytes", "words", "forecast-quantiles"]
)
def test_wide_rows_are_told_by_the_same_few_numbers(make_problem: Callable[[str], Any], name: str) -> None:
    problem = make_problem(name)
    schema, columns = problem.schema, problem.columns()
    model = LoadedModel(schema, problem.task, problem.build().eval(), schema.signature(), "")
    answers = model.predict(columns)
    sent = {
        name: np.array([base64.b64encode(value).decode() for value in values], dtype=object)
        if isinstance(values[0], bytes)
        else values
        for name, values in columns.items()
    }
    reference = as_monitored(schema, problem.table, answers["prediction"])
    seen = monitored_capture(schema, as_captured(schema, sent, answers))
    assert seen.column_names == reference.column_names
    assert seen.num_rows == problem.table.num_rows
    wide = [column for column in reference.column_names if column not in {"input.at", "input.flag", "input.number"}]
    for column in wide:
        one, other = reference.column(column).to_pylist(), seen.column(column).to_pylist()
        assert one == other or one == pytest.approx(other, nan_ok=True)
    assert not any(pa.types.is_list(field.type) for field in reference.schema)


def test_pixels_are_told_by_mean_and_deviation(make_problem: Callable[[str], Any]) -> None:
    problem = make_problem("pixels")
    found = as_monitored(problem.schema, problem.table, np.zeros(problem.table.num_rows, dtype=np.int64))
    pixels = problem.columns()["pixels"]
    assert found.column_names == ["input.pixels.mean", "input.pixels.std", PREDICTION]
    assert found.column(0).to_pylist() == pytest.approx(pixels.mean(axis=1).tolist(), rel=1e-5)
    assert found.column(1).to_pylist() == pytest.approx(pixels.std(axis=1).tolist(), rel=1e-5)
