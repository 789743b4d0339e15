"""Owns columns of one type that lie in one array, so that a model of numbers takes them as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray


class Matrix(Mapping[str, NDArray[Any]]):
    """The rows of an array of shape (rows, columns), as columns by name; a column is a view (rows,).

    >>> import numpy as np
    >>> columns = Matrix({"a": 0, "b": 1}, np.array([[1, 2], [3, 4]]))
    >>> columns["b"].tolist()
    [2, 4]
    """

    __slots__ = ("places", "values_NF")

    def __init__(self, places: Mapping[str, int], values_NF: NDArray[Any]) -> None:
        """`places` gives the column of each name, all in order."""
        self.places, self.values_NF = places, values_NF

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values_NF[:, self.places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
