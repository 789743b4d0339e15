"""Owns which schema stands at which route: the bodies of the three protocols, of any model or of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...platform.model.signature import ColumnSpec, Signature
from .rows import MAIN_OUTPUT
from .schemas import (
    ANYTHING,
    MAYBE_OBJECT,
    TEXT,
    Schema,
    a_list,
    an_object,
    answered,
    columns_of,
    infer_request,
    infer_response,
    list_row_of,
    prediction_of,
    row_list,
    row_of,
    tensors_of,
    value_of,
    wanted_of,
)


@dataclass(frozen=True, slots=True)
class Bodies:
    """The schema of each protocol's question and answer."""

    infer: Schema
    inferred: Schema
    predict: Schema
    predicted: Schema
    score: Schema
    scored: Schema

    def named(self) -> Mapping[str, Schema]:
        """Give the schemas under the names by which a document refers to them."""
        return {
            "InferRequest": self.infer,
            "InferResponse": self.inferred,
            "PredictRequest": self.predict,
            "PredictResponse": self.predicted,
            "ScoreRequest": self.score,
            "ScoreResponse": self.scored,
        }


def general_bodies() -> Bodies:
    """The bodies for a model whose columns are not known."""
    rows, columns = row_list(ANYTHING), an_object({})
    split = an_object({"columns": {"anyOf": [a_list(TEXT), {"type": "null"}]}, "data": rows}, optional=["columns"])
    return Bodies(
        infer=infer_request(),
        inferred=infer_response(),
        predict=_one_of({"instances": rows, "inputs": {"anyOf": [rows, columns]}}),
        predicted=an_object({"predictions": {"type": "array"}}),
        score=_score(split, row_list(an_object({})), rows, columns),
        scored=an_object({"predictions": a_list(an_object({}))}),
    )


def bodies_of(signature: Signature) -> Bodies:
    """The bodies for a model of these columns."""
    given, outputs = signature.inputs, signature.outputs
    rows: Schema = {"anyOf": [row_list(list_row_of(given)), row_list(row_of(given, may_have_more=False))]}
    if len(given) == 1:  # whose rows may be bare values
        rows = {"anyOf": [*rows["anyOf"], row_list(value_of(given[0]))]}
    columns = columns_of(given)
    names = {"anyOf": [a_list(TEXT, uniqueItems=True, minItems=len(given)), {"type": "null"}]}
    split = an_object({"columns": names, "data": row_list({"type": "array"})}, optional=["columns"])
    predict = _one_of({"instances": rows, "inputs": {"anyOf": [*rows["anyOf"], columns]}})
    records = {"anyOf": [row_list(row_of(given, may_have_more=True)), *rows["anyOf"]]}
    score = _score(split, records, rows, columns)
    row = {column.name: _example(column) for column in given}
    main = [column for column in outputs if column.name == MAIN_OUTPUT] or list(outputs)
    answer = answered(main[0]) if len(main) == 1 else prediction_of(outputs)
    return Bodies(
        infer={**infer_request(tensors_of(signature), wanted_of(signature)), "examples": [_tensors(given)]},
        inferred=infer_response([column.name for column in outputs]),
        predict={**predict, "examples": [{"instances": [row]}]},
        predicted=an_object({"predictions": a_list(answer)}),
        score={**score, "examples": [{"dataframe_records": [row]}]},
        scored=an_object({"predictions": a_list(prediction_of(outputs))}),
    )


def _example(column: ColumnSpec) -> object:
    one: object = {"BYTES": "text", "BOOL": True}.get(column.datatype, 1)
    return one if column.width == 1 else [one] * column.width


def _tensors(columns: Sequence[ColumnSpec]) -> dict[str, object]:
    """A body of one row, with a tensor for each column."""
    return {
        "inputs": [
            {
                "name": column.name,
                "shape": [1] if column.width == 1 else [1, column.width],
                "datatype": column.datatype,
                "data": [_example(column)] if column.width == 1 else _example(column),
            }
            for column in columns
        ]
    }


def _score(split: Schema, records: Schema, rows: Schema, columns: Schema) -> dict[str, Any]:
    keys = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": rows,
        "inputs": {"anyOf": [rows, columns]},
    }
    body = _one_of(keys)
    return {**body, "properties": {**body["properties"], "params": MAYBE_OBJECT}}


def _one_of(keys: Mapping[str, Schema]) -> dict[str, Any]:
    """An object with exactly one of the keys."""
    return {"type": "object", "properties": dict(keys), "oneOf": [{"required": [key]} for key in keys]}
