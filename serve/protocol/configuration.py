"""Owns the words of Triton's model configuration, which its tools read; it configures nothing."""

from __future__ import annotations

import orjson

from ...platform.model.signature import ColumnSpec, Signature


def configuration(model: str, signature: Signature, platform: str) -> bytes:
    """Write what Triton's clients read at `/config`; `max_batch_size` 0 says that the dims count the rows too."""
    return orjson.dumps(
        {
            "name": model,
            "platform": platform,
            "max_batch_size": 0,
            "input": [_described(column) for column in signature.inputs],
            "output": [_described(column) for column in signature.outputs],
        }
    )


def _described(column: ColumnSpec) -> dict[str, object]:
    kind = "TYPE_STRING" if column.datatype == "BYTES" else f"TYPE_{column.datatype}"
    return {"name": column.name, "data_type": kind, "dims": [-1] if column.width == 1 else [-1, column.width]}
