"""Owns which array module computes: NumPy or CuPy; knows nothing of columns, bins or tables."""

import importlib
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput, Unavailable

Array: TypeAlias = Any
"""An array of any module that follows the array API standard."""

Prefer = Literal["auto", "cpu", "gpu"]


def _usable_cupy() -> ModuleType | None:
    # A CuPy wheel for another CUDA fails on import with more than ImportError; then there is no usable GPU.
    try:
        cupy = importlib.import_module("cupy")
        return cupy if cupy.cuda.is_available() else None
    except Exception:
        return None


def array_module(prefer: Prefer = "auto") -> ModuleType:
    """Return `numpy` or `cupy`; "auto" takes CuPy only where it imports and sees a GPU.

    Raises `Unavailable` for "gpu" without a usable one, `InvalidInput` for an unknown word.
    """
    if prefer not in ("auto", "cpu", "gpu"):
        raise InvalidInput(f"prefer is {prefer!r}, but it must be 'auto', 'cpu' or 'gpu'")
    if prefer == "cpu":
        return np
    cupy = _usable_cupy()
    if cupy is None and prefer == "gpu":
        raise Unavailable("a GPU was asked for, but CuPy does not import here or sees no CUDA device")
    return cupy or np


def to_host(array: Array) -> NDArray[Any]:
    """Return the same numbers as a NumPy array; copies only if they lie on a device."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):
        return np.asarray(array.get())
    return np.asarray(np.from_dlpack(array))
