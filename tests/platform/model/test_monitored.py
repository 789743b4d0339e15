"""Reference rows and captured rows become the same columns, so that only their values can differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.model.monitored import PREDICTION, as_monitored, captured_rows
from rayloop.platform.model.schema import Feature, Schema, Target, table_columns
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
