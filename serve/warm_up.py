"""Asks a version a few rows before anyone else does: the first answers are slow, and some models give none."""

from __future__ import annotations

import logging

import numpy as np

from ..platform.errors import RayloopError
from ..platform.model.signature import Servable
from .protocol import checked_outputs

BATCHES = (1, 2, 32, 1)  # rows of each; torch chooses its kernels anew for a shape it has not seen

_logger = logging.getLogger(__name__)


class Unusable(RayloopError):
    """A version that loads and can't answer."""


def warm_up(model: Servable) -> None:
    """Infer a few batches of ordinary rows, before the model has any traffic.

    Raises Unusable where a model fails on rows that it must know: those of its training, where an answer must be
    finite too, or its own saved example. Rows that were invented for want of an example prove nothing.
    """
    for rows in BATCHES:
        try:
            _try(model, rows)
        except Unusable as error:
            if model.example_source != "invented":
                raise
            _logger.warning("warming up with made-up rows, since the model has no input example: %s", error)
            return


def _try(model: Servable, rows: int) -> None:
    what = "rows of its own example" if model.example_source == "saved" else "ordinary rows"
    try:
        outputs = checked_outputs(model.predict(model.example(rows)), model.signature, rows)
    except Exception as error:  # whatever a model of anyone's raises, it is of no use
        raise Unusable(f"it fails on {rows} {what}: {type(error).__name__}: {error}") from None
    if model.example_source != "trained":
        return  # a foreign model may well mean NaN
    for name, values in outputs.items():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise Unusable(f"it answers NaN or infinity for {name!r} on {rows} {what}")
