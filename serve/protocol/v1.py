"""Owns the V1 protocol of TensorFlow Serving and KServe; it knows no HTTP server and no model."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from ...platform.errors import InvalidInput
from ...platform.model.signature import Columns, Signature
from .document import read_json
from .exchange import Answer, Buffer, Request
from .rows import main_output, read_instances, read_named
from .tensor import show

_KEYS = ("instances", "inputs")


class V1:
    """The codec of the predict route of one version."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def decode(self, body: Buffer, headers: Mapping[str, str]) -> Request:  # noqa: ARG002
        """Read rows under `instances`, or columns under `inputs`; other keys are let pass."""
        document = read_object(body, _KEYS)
        given = [key for key in _KEYS if key in document]
        if len(given) != 1:
            raise InvalidInput(f"the body has {len(given)} of the keys 'instances' and 'inputs'; it must have one")
        value = document[given[0]]
        if given == ["inputs"] and isinstance(value, dict):
            return read_named(value, self._signature, "inputs")
        return read_instances(value, self._signature, given[0])

    def encode(self, request: Request, outputs: Columns, request_id: str) -> Answer:  # noqa: ARG002
        """Write one prediction for each row."""
        return Answer(orjson.dumps({"predictions": main_output(outputs)}))

    def refuse(self, status: int, sentence: str) -> bytes:  # noqa: ARG002
        """Write the protocol's error."""
        return orjson.dumps({"error": sentence})


def read_object(body: Buffer, keys: tuple[str, ...]) -> dict[str, object]:
    """Read a JSON object, one of whose keys shall be among `keys`."""
    try:
        document = read_json(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"the body is {show(document)}; it must be an object with one of the keys {', '.join(keys)}")
    return document
