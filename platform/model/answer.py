"""Turns what a model of anyone's answers, a frame, a series, an array or a list, into named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .foreign_schema import LONE_OUTPUT, output_type
from .signature import ColumnSpec

Array = NDArray[Any]


def answer_columns(answer: object, names: Sequence[str]) -> dict[str, Array]:
    """The columns `names` of an answer: by their names, or by their places where the answer has none.

    Raises ValueError where the answer has others.
    """
    found, is_named = _arrays(answer)
    if is_named and all(name in found for name in names):
        return {name: found[name] for name in names}
    arrays = list(found.values())
    if len(arrays) == 1 and len(names) > 1 and arrays[0].ndim == 2:
        arrays = list(arrays[0].T)
    if len(arrays) == len(names) and (not is_named or len(names) == 1):
        return dict(zip(names, arrays, strict=True))
    raise ValueError(f"the model gave the outputs {', '.join(found)}, promised was {', '.join(names)}")


def described_answer(answer: object, rows: int) -> tuple[ColumnSpec, ...]:
    """What an answer to `rows` rows is made of. Raises ValueError where that is nothing that can be served."""
    found, _ = _arrays(answer)
    return tuple(_described(name, values, rows) for name, values in found.items())


def _described(name: str, values: Array, rows: int) -> ColumnSpec:
    if values.ndim not in {1, 2} or values.shape[0] != rows or 0 in values.shape:
        raise ValueError(f"output {name!r} has shape {list(values.shape)} for {rows} rows")
    datatype = output_type(values.dtype)
    if datatype is None:
        raise ValueError(f"output {name!r} is of {values.dtype}; an answer is numbers, booleans or text")
    return ColumnSpec(name, datatype, values.shape[1] if values.ndim == 2 else 1)


def _arrays(answer: object) -> tuple[dict[str, Array], bool]:
    """The arrays of an answer by name, and whether the names are the model's own."""
    if isinstance(answer, list) and answer and all(isinstance(row, Mapping) for row in answer):
        answer = pd.DataFrame(answer)
    if isinstance(answer, pd.DataFrame):
        if not answer.columns.is_unique:
            raise ValueError(f"the model gave columns of one name: {list(answer.columns)}")
        is_named = not all(isinstance(name, int) for name in answer.columns)
        lone = not is_named and answer.shape[1] == 1
        return {LONE_OUTPUT if lone else _named(n): _array(answer[n]) for n in answer.columns}, is_named
    if isinstance(answer, Mapping):
        return {str(name): _array(values) for name, values in answer.items()}, True
    return {LONE_OUTPUT: _array(answer)}, False


def _named(key: object) -> str:
    return f"{LONE_OUTPUT}_{key}" if isinstance(key, int) else str(key)


def _array(values: Any) -> Array:
    """One column as numbers, booleans or Python's text; a list in each row makes it (rows, width)."""
    array: Array = values.to_numpy() if isinstance(values, pd.Series) else np.asarray(values)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind != "O" or array.ndim != 1 or not array.size:
        return array
    if isinstance(array[0], list | tuple | np.ndarray):
        return _array(np.stack([np.asarray(row) for row in array]))
    if any(isinstance(value, str) for value in array):
        return array
    plain = np.asarray(array.tolist())
    return array.astype(np.float64) if plain.dtype.kind == "O" else plain  # None among numbers is NaN
