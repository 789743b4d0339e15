"""Owns the way from one tensor's values to a checked NumPy array; it knows no request and no HTTP.

A value is accepted where the column can hold it unchanged, whatever number type the client declared: 3.0 fits
an INT64 column and 3.5 does not. Only rounding to a float type is let pass, since JSON writes fractions in
decimal anyway. `null` is NaN, so it fits FP columns alone. Text fits BYTES alone, and BYTES takes nothing
else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...platform.errors import InvalidInput
from ...platform.model.signature import NUMPY_DTYPE, Columns, ColumnSpec, Signature

Array = NDArray[Any]

# The names of the protocol's element types; BF16 exists in binary tensors only.
WIRE_DTYPE: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign}INT{bits}".lower()) for sign in ("U", "") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
_JSON_WORDS: Mapping[Any, str] = {None: "null", True: "true", False: "false"}
_NULL = type(None)
_ELEMENTS: Mapping[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool, _NULL}), "true or false"),
    "i": (frozenset({int, _NULL}), "whole numbers of at most 64 bits"),
    "u": (frozenset({int, _NULL}), "whole numbers of at most 64 bits"),
    "f": (frozenset({int, float, _NULL}), "numbers or null"),
    "O": (frozenset({str}), "text"),
}
_SHOWN_CHARS = 60


def show(value: object) -> str:
    """Write a JSON value for a sentence: short, and never its depth, which may exceed Python's stack."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = _JSON_WORDS[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def flatten(data: object, shape: tuple[int, ...], where: str) -> list[Any]:
    """Give the elements of nested or flat row-major `data` in order, as many as `shape` says."""
    if type(data) is not list:
        raise InvalidInput(f"{where}: key 'data' is {show(data)}; it must be a list")
    level: list[Any] = data
    if len(shape) == 1 or list not in set(map(type, level)):
        wanted = math.prod(shape)
        if len(level) != wanted:
            raise InvalidInput(f"{where}: key 'data' holds {len(level)} values, but shape {list(shape)} needs {wanted}")
        return level
    if len(level) != shape[0]:
        raise InvalidInput(f"{where}: key 'data' holds {len(level)} rows, but shape {list(shape)} needs {shape[0]}")
    for size in shape[1:]:
        if set(map(type, level)) != {list}:
            raise InvalidInput(f"{where}: key 'data' mixes lists and values; it must be nested evenly or flat")
        lengths = set(map(len, level))
        if lengths != {size}:
            wrong = next(length for length in lengths if length != size)
            raise InvalidInput(f"{where}: key 'data' has a row of {wrong} values, but shape {list(shape)} needs {size}")
        level = list(chain.from_iterable(level))
    return level


def read_values(flat: list[Any], datatype: str, where: str) -> Array:
    """Make one array of the elements, each checked against the type that the client declared.

    Whole numbers and booleans with a null among them come back as float64.
    """
    dtype = WIRE_DTYPE[datatype]
    allowed, words = _ELEMENTS[dtype.kind]
    types = set(map(type, flat))
    if not types <= allowed:
        wrong = next(value for value in flat if type(value) not in allowed)
        raise InvalidInput(f"{where}: key 'data' holds {show(wrong)}, but {datatype} takes {words}")
    if dtype.kind == "O":
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        return texts
    if dtype.kind == "f":
        return _rounded(np.array(flat, dtype=np.float64), dtype, datatype, where)
    present = [value for value in flat if value is not None] if _NULL in types else flat
    try:
        exact = np.array(present, dtype=dtype)
    except OverflowError:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        wrong = next(value for value in present if not low <= value <= high)
        raise InvalidInput(f"{where}: value {show(wrong)} does not fit {datatype} ({low} to {high})") from None
    return exact if present is flat else np.array(flat, dtype=np.float64)


def convert(values: Array, column: ColumnSpec, where: str) -> Array:
    """Bring values to the type of their column; every value must survive it."""
    wanted = NUMPY_DTYPE[column.datatype]
    if (values.dtype.kind == "O") != (wanted.kind == "O"):
        given = "text" if values.dtype.kind == "O" else "numbers"
        raise InvalidInput(f"{where}: the values are {given}, but column {show(column.name)} is {column.datatype}")
    if values.dtype == wanted:
        return values
    if wanted.kind == "f":
        return _rounded(values, wanted, column.datatype, where)
    label = f"{column.datatype}, the type of column {show(column.name)}"
    if wanted.kind == "b":
        _refuse(values, (values != 0) & (values != 1), where, f"{label}: it takes true, false, 1 and 0")
    elif values.dtype.kind == "f":
        if values.dtype == np.float16:  # which the bounds below do not fit
            values = values.astype(np.float32)
        # NaN is unequal to itself, so the first test finds null too.
        _refuse(values, values != np.trunc(values), where, f"{label}: it takes whole numbers")
        bound = 2.0 ** (8 * wanted.itemsize - 1)
        is_low = values < -bound if wanted.itemsize < values.dtype.itemsize else values <= -bound
        # -2.0**63 is refused: readers of JSON make it of whole numbers below -2**63 too.
        _refuse(values, is_low | (values >= bound), where, label)
    else:
        high = 2 ** (8 * wanted.itemsize - 1) - 1
        low = -high - 1
        _refuse(values, (values < low) | (values > high), where, f"{label} ({low} to {high})")
    return values.astype(wanted)


def _rounded(values: Array, dtype: np.dtype[Any], label: str, where: str) -> Array:
    """Round to a float type; an infinity that was none before is an overflow."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    is_infinite = np.isinf(rounded)
    if is_infinite.any():
        _refuse(values, is_infinite & np.isfinite(values), where, label)
    return rounded


def _refuse(values: Array, is_wrong: NDArray[np.bool_], where: str, rule: str) -> None:
    if is_wrong.any():
        wrong = values[is_wrong].flat[0].item()
        raise InvalidInput(f"{where}: value {show(None if wrong != wrong else wrong)} does not fit {rule}")


def checked_outputs(outputs: Columns, signature: Signature, rows: int) -> dict[str, Array]:
    """Bring a model's answer to the types and shapes that its signature promises.

    Raises ValueError or TypeError where the model broke its promise: an output is missing, has other rows or
    another width, or would lose its meaning in the promised type (a fraction in a whole number).
    """
    checked: dict[str, Array] = {}
    for column in signature.outputs:
        if column.name not in outputs:
            raise ValueError(f"the model gave no output {column.name!r}")
        values = np.asarray(outputs[column.name])
        wanted = (rows,) if column.width == 1 else (rows, column.width)
        if values.shape == (rows, 1) and column.width == 1:
            values = values.reshape(rows)
        if values.shape != wanted:
            raise ValueError(f"output {column.name!r} has shape {values.shape}, promised was {wanted}")
        dtype = NUMPY_DTYPE[column.datatype]
        if values.dtype != dtype:
            with np.errstate(over="ignore"):
                values = values.astype(dtype, casting="same_kind")
        if dtype.kind == "O" and not all(isinstance(value, str) for value in values.flat):
            raise TypeError(f"output {column.name!r} holds something else than text")
        checked[column.name] = values
    return checked
