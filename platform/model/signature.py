"""What a model takes and gives, by name and type; it knows neither torch nor HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# The Open Inference Protocol's names for element types. BYTES holds text, one Python str an element.
Datatype = Literal["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]

NUMPY_DTYPE: Mapping[Datatype, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One named input or output column.

    `width` is 1 for a plain column of shape (rows,), and k for one of shape (rows, k), such as the
    probabilities of k classes.
    """

    name: str
    datatype: Datatype
    width: int = 1


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns a model takes, in order, and those it gives; `takes_params` where it can be told more by name."""

    inputs: tuple[ColumnSpec, ...]
    outputs: tuple[ColumnSpec, ...]
    takes_params: bool = False
    is_one_matrix: bool = field(init=False, repr=False, compare=False)
    """True where every input is a number of width 1, so that one tensor (rows, columns) says it all."""
    has_one_type: bool = field(init=False, repr=False, compare=False)
    """True where that tensor's columns are all of one type."""
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """The place of each input by its name."""

    def __post_init__(self) -> None:
        # Asked for in each request, so they are worked out once.
        is_matrix = all(column.datatype != "BYTES" and column.width == 1 for column in self.inputs)
        object.__setattr__(self, "is_one_matrix", is_matrix)
        object.__setattr__(self, "has_one_type", is_matrix and len({c.datatype for c in self.inputs}) == 1)
        object.__setattr__(self, "places", {column.name: place for place, column in enumerate(self.inputs)})


Columns = Mapping[str, NDArray[np.generic]]


class Predictor(Protocol):
    """Anything that answers a batch of rows: our own artifacts, and any other model that is wrapped as one."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        ...

    def predict(self, columns: Columns, params: Mapping[str, Any] | None = None) -> Columns:
        """Answer the rows of `columns`, one array (rows,) or (rows, width) for each input of the signature.

        `params` are given only to a model that takes some; it may raise InvalidInput for them.
        """
        ...


# Where example rows come from: the rows of the training, an example saved with the model, or nowhere.
ExampleSource = Literal["trained", "saved", "invented"]


class Servable(Predictor, Protocol):
    """A predictor that can be tried before anyone asks it."""

    @property
    def example_source(self) -> ExampleSource:
        """Where its example rows come from."""
        ...

    def example(self, rows: int) -> Columns:
        """So many rows to try it on."""
        ...
