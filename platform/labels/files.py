"""Reads labels from a person's file: CSV, Parquet or JSON lines; all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from ..errors import InvalidInput, NotFound
from .body import parse_body
from .record import KEYS, Label, make_label

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson", ".json")


def read_label_file(path: Path) -> list[Label]:
    """Read every label of a file by its suffix; columns and keys are named as in a record.

    Raises NotFound, or InvalidInput that names the file and the row.
    """
    if path.suffix not in SUFFIXES:
        raise InvalidInput(f"cannot read {path}: a label file must end in {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            return _labels(pq.read_table(path), "row")
        content = path.read_bytes()
        if path.suffix == ".csv":
            return _labels(_csv(content), "row")
        return parse_body(content, most=None)
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def _csv(content: bytes) -> pa.Table:
    # A column of texts stays text: an id of digits is no number, and a label `01` no 1.
    types = {"request_id": pa.string(), "label": pa.string(), "time": pa.string()}
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
    return csv.read_csv(pa.BufferReader(content), convert_options=options)


def _labels(table: pa.Table, word: str) -> list[Label]:
    missing = [name for name in ("request_id", "label") if name not in table.column_names]
    if missing:
        raise InvalidInput(f"there is no column {missing[0]!r}, and labels need request_id and label")
    unknown = [name for name in table.column_names if name not in KEYS]
    if unknown:
        raise InvalidInput(f"column {unknown[0]!r} is not known; labels have {', '.join(KEYS)}")
    return list(_rows(table, word))


def _rows(table: pa.Table, word: str) -> Iterator[Label]:
    place = 0
    for batch in table.to_batches():
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        nothing: list[Any] = [None] * batch.num_rows
        for request_id, row, label, time in zip(*(columns.get(name, nothing) for name in KEYS), strict=True):
            place += 1
            seconds = float(time) if isinstance(time, str) and _is_number(time) else time
            yield make_label(request_id, row, label, seconds, f"{word} {place}")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal() and "-" not in text
