"""Asks an endpoint for predictions over HTTP: NumPy arrays in, NumPy arrays out; it knows no cluster.

Tensors travel as bytes of the Open Inference Protocol V2, unless the client is told to speak JSON. Inference may be
repeated without harm, so a lost connection and the statuses 502, 503 and 504 are tried again; a 4xx never is, and
neither is a timeout after the connection stood.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import ArrayLike

from ..platform.errors import InvalidInput, RayloopError, Unavailable
from .protocol.arrival import REQUEST_ID_HEADER
from .protocol.binary import LENGTH_HEADER, SIZE_PARAMETER, Tail, read_binary, split_body, write_binary
from .protocol.tensor import WIRE_DTYPE, Array, show

SESSION_HEADER = "x-session-id"

_RETRIED = frozenset({502, 503, 504})
_LOST = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)
_WIRE_NAME = {dtype: name for name, dtype in WIRE_DTYPE.items()}
_MATRIX_NAME = "rows"


class EndpointError(RayloopError):
    """The endpoint refused a request, or failed on it; `status` is its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence

    def __str__(self) -> str:
        return f"the endpoint answered {self.status}: {self.sentence}"


class EndpointUnavailable(EndpointError, Unavailable):
    """The endpoint could not be reached, or was overloaded, at the last attempt too; no answer at all is 503 or 504."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The model's outputs by name, each (rows,) or (rows, width), and the version that gave them."""

    outputs: Mapping[str, Array]
    model: str
    version: str | None
    request_id: str

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried; the wait doubles from `base_s` to `max_s`, less a random part of up to a half."""

    attempts: int = 4
    base_s: float = 0.05
    max_s: float = 2.0

    def wait_s(self, failed: int, asked_s: float | None = None) -> float:
        """Seconds to wait after `failed` failures; the server's own wish counts where it is longer, up to `max_s`."""
        own_s = min(self.max_s, self.base_s * 2.0 ** (failed - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        return max(own_s, min(asked_s or 0.0, self.max_s))


@dataclass(frozen=True, slots=True)
class _Settings:
    url: str
    token: str | None
    timeout_s: float
    retry: Retry
    is_binary: bool
    headers: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        if self.retry.attempts < 1:
            raise InvalidInput(f"attempts is {self.retry.attempts}; it must be 1 or more")
        if not self.url.startswith(("http://", "https://")):
            raise InvalidInput(f"url {self.url!r} must begin with http:// or https://")
        headers = {**self.headers, **({"authorization": f"Bearer {self.token}"} if self.token else {})}
        return {"base_url": self.url, "headers": headers, "timeout": self.timeout_s}


class Client:
    """A client that blocks; safe to share between threads, and to be closed by `with`.

    `url` is the edge's, such as "http://localhost:8080"; `token` goes along as a bearer token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        binary: bool = True,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(url, token, timeout_s, retry or Retry(), binary, headers or {})
        self._http = httpx.Client(**self._settings.options(), transport=transport)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | ArrayLike,
        *,
        version: int | str | None = None,
        session: str | None = None,
        request_id: str | None = None,
    ) -> Prediction:
        """Predict rows: columns by name, or one matrix (rows, columns) for a model of numbers.

        `session` keeps a caller on one version while a split moves; `version` pins one. Raises EndpointError with
        the endpoint's status and sentence, EndpointUnavailable after the last attempt, InvalidInput for inputs
        that cannot be sent.
        """
        request = write_request(model, inputs, version, session, request_id, is_binary=self._settings.is_binary)
        retry, failed = self._settings.retry, 0
        while True:
            try:
                response = self._http.send(request.built(self._http))
                outcome: EndpointUnavailable | Prediction = read_response(response)
            except _LOST as error:
                response, outcome = None, _unreached(error)
            except httpx.RequestError as error:
                raise _unreached(error) from error
            if isinstance(outcome, Prediction):
                return outcome
            failed += 1
            if failed >= retry.attempts:
                raise outcome
            time.sleep(retry.wait_s(failed, _asked_s(response)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """The same for asyncio; use it in one event loop."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        binary: bool = True,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(url, token, timeout_s, retry or Retry(), binary, headers or {})
        self._http = httpx.AsyncClient(**self._settings.options(), transport=transport)

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | ArrayLike,
        *,
        version: int | str | None = None,
        session: str | None = None,
        request_id: str | None = None,
    ) -> Prediction:
        """Predict rows; see `Client.infer`."""
        request = write_request(model, inputs, version, session, request_id, is_binary=self._settings.is_binary)
        retry, failed = self._settings.retry, 0
        while True:
            try:
                response = await self._http.send(request.built(self._http))
                outcome: EndpointUnavailable | Prediction = read_response(response)
            except _LOST as error:
                response, outcome = None, _unreached(error)
            except httpx.RequestError as error:
                raise _unreached(error) from error
            if isinstance(outcome, Prediction):
                return outcome
            failed += 1
            if failed >= retry.attempts:
                raise outcome
            await asyncio.sleep(retry.wait_s(failed, _asked_s(response)))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An infer request as it goes over the wire."""

    path: str
    content: bytes
    headers: Mapping[str, str]

    def built(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        return client.build_request("POST", self.path, content=self.content, headers=dict(self.headers))


def write_request(
    model: str,
    inputs: Mapping[str, ArrayLike] | ArrayLike,
    version: int | str | None = None,
    session: str | None = None,
    request_id: str | None = None,
    *,
    is_binary: bool = True,
) -> Outgoing:
    """Write an infer request. Raises InvalidInput for arrays that no tensor can hold."""
    named = inputs if isinstance(inputs, Mapping) else {_MATRIX_NAME: inputs}
    if not named:
        raise InvalidInput("inputs has no columns; it must name one or more")
    tensors = [_written(name, values, is_binary) for name, values in named.items()]
    document: dict[str, Any] = {"inputs": [head for head, _ in tensors]}
    if is_binary:
        document["parameters"] = {"binary_data_output": True}
    if request_id is not None:
        document["id"] = request_id
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"content-type": "application/octet-stream", LENGTH_HEADER: str(len(content))}
    if not is_binary:
        headers = {"content-type": "application/json"}
    headers |= {SESSION_HEADER: session} if session is not None else {}
    headers |= {REQUEST_ID_HEADER: request_id} if request_id is not None else {}
    pin = "" if version is None else f"/versions/{quote(str(version), safe='')}"
    path = f"/v2/models/{quote(model, safe='')}{pin}/infer"
    return Outgoing(path, b"".join([content, *(raw for _, raw in tensors)]), headers)


def read_response(response: httpx.Response) -> Prediction | EndpointUnavailable:
    """Read an answer; one that is worth another attempt is given, not raised. Raises EndpointError for any other."""
    if response.status_code != 200:
        sentence = _sentence(response)
        if response.status_code in _RETRIED:
            return EndpointUnavailable(response.status_code, sentence)
        raise EndpointError(response.status_code, sentence)
    try:
        content, tail = split_body(response.content, response.headers.get(LENGTH_HEADER))
        document = orjson.loads(content)
        outputs = {entry["name"]: _read(entry, tail) for entry in document["outputs"]}
        return Prediction(outputs, document["model_name"], document.get("model_version"), document.get("id") or "")
    except (ValueError, KeyError, TypeError) as error:
        raise EndpointError(502, f"its answer is no V2 answer: {type(error).__name__}: {error}") from None


def _written(name: str, given: ArrayLike, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    values = np.asarray(given)
    if values.dtype.kind in "US":
        values = values.astype(str).astype(object)
    if values.dtype not in _WIRE_NAME or not 1 <= values.ndim <= 2 or not values.size:
        raise InvalidInput(
            f"input {show(name)} is {values.dtype} of shape {list(values.shape)}; "
            "it must be numbers, booleans or text, in one or two dimensions, with a row or more"
        )
    datatype = _WIRE_NAME[values.dtype]
    if datatype == "BYTES" and not all(isinstance(value, str) for value in values.flat):
        raise InvalidInput(f"input {show(name)} holds Python objects that are not text")
    head: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": datatype}
    if not is_binary:
        return {**head, "data": values.reshape(-1).tolist()}, b""
    raw = write_binary(values)
    return {**head, "parameters": {SIZE_PARAMETER: len(raw)}}, raw


def _read(entry: Mapping[str, Any], tail: Tail | None) -> Array:
    shape, datatype, where = tuple(entry["shape"]), entry["datatype"], f"output {show(entry['name'])}"
    size = (entry.get("parameters") or {}).get(SIZE_PARAMETER)
    if "data" in entry or tail is None:
        data: Sequence[Any] = entry["data"]
        dtype = WIRE_DTYPE[datatype]
        return np.array([math.nan if v is None and dtype.kind == "f" else v for v in data], dtype=dtype).reshape(shape)
    return read_binary(tail.take(size, where), math.prod(shape), datatype, where).reshape(shape)


def _sentence(response: httpx.Response) -> str:
    try:
        return str(orjson.loads(response.content)["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200].strip() or response.reason_phrase


def _unreached(error: httpx.RequestError) -> EndpointUnavailable:
    status = 504 if isinstance(error, httpx.TimeoutException) else 503
    return EndpointUnavailable(status, f"no answer came: {type(error).__name__}: {error}")


def _asked_s(response: httpx.Response | None) -> float | None:
    asked = "" if response is None else response.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else None
