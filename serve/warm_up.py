"""Asks a version a few rows before anyone else does: the first answers are slow, and some models give none."""

from __future__ import annotations

import numpy as np

from ..platform.errors import RayloopError
from ..platform.model.artifact import LoadedModel
from .protocol import checked_outputs

BATCHES = (1, 2, 32, 1)  # rows of each; torch chooses its kernels anew for a shape it has not seen


class Unusable(RayloopError):
    """A version that loads and can't answer."""


def warm_up(model: LoadedModel) -> None:
    """Infer a few batches of ordinary rows. Raises Unusable where an answer has the wrong shape or is no number."""
    for rows in BATCHES:
        try:
            outputs = checked_outputs(model.predict(model.example(rows)), model.signature, rows)
        except Exception as error:  # whatever a model of anyone's raises, it is of no use
            raise Unusable(f"it fails on {rows} ordinary rows: {type(error).__name__}: {error}") from None
        for name, values in outputs.items():
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                raise Unusable(f"it answers NaN or infinity for {name!r} on {rows} ordinary rows")
