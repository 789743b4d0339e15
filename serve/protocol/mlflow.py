"""Owns the bodies of MLflow's scoring server; it knows no HTTP server and does not import MLflow."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from typing import Any

import orjson

from ...platform.errors import InvalidInput
from ...platform.model.signature import Columns, Signature
from .exchange import JSON_TYPE, Answer, Buffer, Request, UnsupportedMedia
from .inputs import match_names
from .rows import read_instances, read_named, records
from .tensor import show
from .v1 import read_object

_CSV_TYPE = "text/csv"
_KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_NULLS = frozenset({"", "nan", "na", "null", "none"})
_WORDS = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ERROR_CODE = {404: "RESOURCE_DOES_NOT_EXIST", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}


class Mlflow:
    """The codec of the invocations route of one version."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def decode(self, body: Buffer, headers: Mapping[str, str]) -> Request:
        """Read JSON or CSV, by the media type. Raises UnsupportedMedia for any other."""
        media_type = _media_type(headers.get("content-type"))
        return self._read_csv(body) if media_type == _CSV_TYPE else self._read_json(body)

    def encode(self, request: Request, outputs: Columns, request_id: str) -> Answer:  # noqa: ARG002
        """Write the outputs as MLflow writes a frame: one object for each row."""
        return Answer(orjson.dumps({"predictions": records(outputs)}))

    def refuse(self, status: int, sentence: str) -> bytes:
        """Write MLflow's error, and the sentence under 'error' too."""
        code = _ERROR_CODE.get(status, "BAD_REQUEST")
        return orjson.dumps({"error_code": code, "message": sentence, "error": sentence})

    def _read_json(self, body: Buffer) -> Request:
        document = read_object(body, _KEYS)
        given = [key for key in _KEYS if key in document]
        if len(given) != 1:
            raise InvalidInput(f"the body has {len(given)} of the keys {', '.join(_KEYS)}; it must have exactly one")
        params = document.get("params")
        if not isinstance(params, dict | None):
            raise InvalidInput(f"key 'params' is {show(params)}; it must be an object")
        request = self._read_rows(given[0], document[given[0]])
        return request._replace(params=params) if params and self._signature.takes_params else request

    def _read_rows(self, key: str, value: Any) -> Request:
        if key == "dataframe_split":
            return self._read_split(value)
        if key == "inputs" and isinstance(value, dict):
            return read_named(value, self._signature, key)
        return read_instances(value, self._signature, key, may_have_more=key == "dataframe_records")

    def _read_split(self, frame: object) -> Request:
        key = "dataframe_split"
        if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
            raise InvalidInput(f"key {key!r} must be an object with the keys 'columns' and 'data', both lists")
        names = frame.get("columns")
        if names is None:
            return read_instances(frame["data"], self._signature, key)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInput(f"key {key!r}: key 'columns' must be a list of names")
        return self._read_frame(names, frame["data"], key)

    def _read_frame(self, names: list[str], rows: list[Any], key: str) -> Request:
        """Read rows under named columns; those that the model does not take are let pass, as MLflow does."""
        if len(set(names)) != len(names):
            raise InvalidInput(f"key {key!r} names a column more than once")
        wanted = [column.name for column in self._signature.inputs]
        match_names([name for name in names if name in wanted], self._signature, key)
        if not rows:
            raise InvalidInput(f"key {key!r} has no rows; it must have one or more")
        for index, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(names):
                what = f"has {len(row)} values" if isinstance(row, list) else f"is {show(row)}"
                raise InvalidInput(f"key {key!r}: row {index} {what}, but there are {len(names)} columns")
        by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
        return read_named({name: list(by_name[name]) for name in wanted}, self._signature, key)

    def _read_csv(self, body: Buffer) -> Request:
        try:
            lines = list(csv.reader(io.StringIO(str(body, "utf-8-sig"), newline=""), strict=True))
        except UnicodeDecodeError:
            raise InvalidInput("the body is not UTF-8") from None
        except csv.Error as error:
            raise InvalidInput(f"the body is not CSV: {error}") from None
        names, *rows = [line for line in lines if line] or [[]]
        datatypes = {column.name: column.datatype for column in self._signature.inputs}
        read = [
            [
                value if datatypes.get(name, "BYTES") == "BYTES" else _value(value)
                for name, value in zip(names, row, strict=False)
            ]
            if len(row) == len(names)
            else row
            for row in rows
        ]
        return self._read_frame(names, read, "csv")


def mlflow_version() -> str:
    """Tell which MLflow's payloads these are."""
    return installed_version("mlflow")


def _media_type(header: str | None) -> str:
    media_type, *parameters = (part.strip().lower() for part in (header or "").split(";"))
    if media_type not in (JSON_TYPE, _CSV_TYPE):
        raise UnsupportedMedia(
            f"header 'content-type' is {show(header or 'missing')}; it must be {JSON_TYPE} or {_CSV_TYPE}"
        )
    for parameter in parameters:
        if parameter.replace('"', "") not in ("charset=utf-8", "charset=utf8", ""):
            raise UnsupportedMedia(
                f"header 'content-type' has the parameter {show(parameter)}; it may be charset=utf-8"
            )
    return media_type


def _value(text: str) -> Any:
    """Read a cell of a column of numbers; what is none stays text, and is refused by its column."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    lowered = text.lower()
    return None if lowered in _NULLS else _WORDS.get(lowered, text)
