"""What a model was taught about its table: features, target, and the numbers that scale them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..project import Project
from .columns import to_numpy
from .feature import ANY_KIND, Feature, Kind, fit_feature
from .options import is_count
from .signature import Signature
from .target import Target, fit_target

# What the built-in tasks read; a user's own task may have any kind.
READS: Mapping[str, frozenset[Kind]] = {
    "tabular": frozenset({"numeric", "categorical"}),
    "image": frozenset({"array", "image"}),
    "sequence": frozenset({"text"}),
    "forecast": frozenset({"array"}),
}
ONE_COLUMN = frozenset({"image", "sequence"})


@dataclass(frozen=True, slots=True)
class Schema:
    """The features, in the table's order, and the target; made from training rows alone."""

    features: tuple[Feature, ...]
    target: Target
    numeric: tuple[Feature, ...] = field(init=False, repr=False, compare=False)
    """Features that are numbers."""
    categorical: tuple[Feature, ...] = field(init=False, repr=False, compare=False)
    """Features that are one of several texts."""

    def __post_init__(self) -> None:
        for kind in ("numeric", "categorical"):  # each prediction asks for them, so they are parted once
            object.__setattr__(self, kind, tuple(feature for feature in self.features if feature.kind == kind))

    @property
    def columns(self) -> list[str]:
        """The columns that a training reads: the features' in their order, and the target's."""
        return [*(feature.name for feature in self.features), self.target.name]

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of numbers and texts that had one value, or none, in every training row; a gap is none."""
        numbers = [feature.name for feature in self.numeric if not feature.edges]
        return (*numbers, *(feature.name for feature in self.categorical if len(feature.categories) < 2))

    def signature(self) -> Signature:
        """The columns a served model takes and gives."""
        return Signature(tuple(feature.spec for feature in self.features), self.target.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"features": [feature.to_dict() for feature in self.features], "target": self.target.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schema:
        """The schema of `to_dict`, also after a trip through JSON."""
        features = tuple(Feature.from_dict(feature) for feature in values["features"])
        return cls(features, Target.from_dict(values["target"]))

    def encode_target(self, values: pa.ChunkedArray) -> NDArray[np.generic]:
        """The target's values as numbers, see `Target.encode`; an unknown class raises InvalidInput."""
        return self.target.encode(values)


def framed(table: pa.Table, project: Project) -> pa.Table:
    """The rows as the project's task means them: windows for a forecast, and else the table as it is."""
    if project.task.use != "forecast":
        return table
    from .series import as_windows

    return as_windows(table, project)


def fit_schema(table: pa.Table, project: Project, whole: Mapping[str, pa.ChunkedArray] | None = None) -> Schema:
    """Learn the schema from training rows.

    Where they are a sample, `whole` has columns that stand in for its own: see `distinct_columns`. Raises InvalidInput
    for a column type that the task's features can't have, and for a target with one class.
    """
    use = project.task.use
    names = [name for name in table.column_names if name not in project.data.not_features]
    if use in ONE_COLUMN and len(names) != 1:
        shown = ", ".join(repr(name) for name in names[:8])
        raise InvalidInput(f"task.use = {use!r} reads one column, and there are {shown}: name others under data.ignore")
    known = {name: table.column(name) for name in [*names, project.data.target]} | dict(whole or {})
    features = [fit_feature(name, known[name], READS.get(use, ANY_KIND)) for name in names]
    if use == "image":
        features = [_image(features[0], table.column(names[0]), project.task.params.get("shape"))]
    if use == "sequence":
        from .vocabulary import fit_vocabulary

        features = [fit_vocabulary(features[0], table.column(names[0]), project.task.params)]
    return Schema(tuple(features), fit_target(project, known[project.data.target]))


def _image(feature: Feature, values: pa.ChunkedArray, shape: object) -> Feature:
    """The feature as the image task reads it: `task.params.shape` says how a row's numbers lie."""
    if shape is not None and not (isinstance(shape, (list, tuple)) and all(is_count(side) for side in shape)):
        raise InvalidInput(f"task.params.shape = {shape!r}: it must be a list of whole numbers, such as [28, 28]")
    if feature.kind == "image":
        from .picture import fit_picture  # Pillow, which no other task needs

        return fit_picture(feature, values, shape)
    if shape is None:
        return feature
    if math.prod(shape) != math.prod(feature.shape):
        raise InvalidInput(
            f"task.params.shape = {list(shape)}: it holds {math.prod(shape)} numbers, but column {feature.name!r} has "
            f"{math.prod(feature.shape)} a row"
        )
    return replace(feature, shape=tuple(shape))


def table_columns(table: pa.Table, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """The named columns as NumPy arrays: numbers (rows,) with NaN for null, lists (rows, width), texts as objects."""
    return {name: to_numpy(table.column(name)) for name in names}


def canonical_json(values: Mapping[str, Any]) -> bytes:
    """Bytes that depend on the values alone: sorted keys, one form of each number."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode()


__all__ = ["Feature", "Schema", "Target", "canonical_json", "fit_schema", "framed", "table_columns"]
