"""Asks the edge to deploy, split, scale and roll back, over HTTP; it knows no cluster, and repeats no change by itself.

Predictions are asked for by `client`. A change that got no answer may have been made: look, then ask again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from ..platform.errors import InvalidInput, RayloopError, Unavailable
from ..platform.traffic import BUCKETS

POLL_S = 0.2
TIMEOUT_S = 240.0  # a load is answered when the version is up

_NOT_NOW = frozenset({429, 503})


class ControlError(RayloopError):
    """The edge or the control service refused; `status` is the HTTP status, and the sentence is theirs."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence

    def __str__(self) -> str:
        return f"the edge answered {self.status}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version that is deployed; `weight` is in 1/10,000, `state` is Ray Serve's word for it."""

    version: int
    weight: int
    replicas: int
    running: int
    state: str


@dataclass(frozen=True, slots=True)
class ServedEndpoint:
    """An endpoint: its split as weights in 1/10,000, the split's revision, and the versions that are deployed."""

    name: str
    revision: int
    split: Mapping[int, int]
    versions: tuple[ServedVersion, ...]


class Control:
    """A client that blocks; safe to share between threads, and to be closed by `with`.

    `url` is the edge's; `token` must have the role deploy or admin once the edge asks for tokens.
    Every method raises ControlError where it is refused, Unavailable where no answer came.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        verify: Any = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"url {url!r} must begin with http:// or https://")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, verify=verify, transport=transport)

    def endpoints(self) -> list[ServedEndpoint]:
        """Every endpoint, by name."""
        return [_endpoint(found) for found in self._ask("GET", "/v2/endpoints")["endpoints"]]

    def endpoint(self, name: str) -> ServedEndpoint:
        """One endpoint."""
        return _endpoint(self._ask("GET", _path("endpoints", name)))

    def split(
        self, name: str, shares: Mapping[int, float], *, reason: str | None = None, revision: int | None = None
    ) -> ServedEndpoint:
        """Part an endpoint's traffic: `{3: 0.9, 4: 0.1}`. With `revision` it is refused (409) if the split moved."""
        body = {"weights": {str(version): _weight(version, share) for version, share in shares.items()}}
        return _endpoint(self._ask("PUT", _path("endpoints", name, "split"), body, reason=reason, revision=revision))

    def rollback(self, name: str, *, reason: str | None = None) -> ServedEndpoint:
        """Give all traffic back to the version that had it before."""
        return _endpoint(self._ask("POST", _path("endpoints", name, "rollback"), {}, reason=reason))

    def deploy(self, name: str, version: int, *, force: str | None = None) -> ServedEndpoint:
        """Bring a version up, and wait until it is; `force` says why it may be though it broke a gate (admins)."""
        operation = self._ask("PUT", _path("endpoints", name, "versions", version), {}, force=force)
        deadline_s = time.monotonic() + self._timeout_s
        while operation["state"] == "running":
            time.sleep(POLL_S)
            try:
                operation = self.operation(operation["id"])
            except ControlError as error:
                if error.status not in _NOT_NOW or time.monotonic() > deadline_s:
                    raise
        if operation["state"] != "done":
            raise ControlError(operation["status"], operation["error"])
        return self.endpoint(name)

    def undeploy(self, name: str, version: int) -> None:
        """Take a version without traffic down."""
        self._ask("DELETE", _path("endpoints", name, "versions", version))

    def scale(self, name: str, version: int, replicas: int) -> ServedEndpoint:
        """Bring a version to a number of replicas."""
        path = _path("endpoints", name, "versions", version, "replicas")
        return _endpoint(self._ask("PUT", path, {"replicas": replicas}))

    def load(self, name: str, version: int | None = None) -> None:
        """Bring a version up, or the newest that kept its gates, as Triton's clients do; returns when it is."""
        parameters = {} if version is None else {"version": version}
        self._ask("POST", _path("repository", "models", name, "load"), {"parameters": parameters})

    def unload(self, name: str, version: int | None = None) -> None:
        """Take a version without traffic down, or all of those."""
        parameters = {} if version is None else {"version": version}
        self._ask("POST", _path("repository", "models", name, "unload"), {"parameters": parameters})

    def operation(self, operation_id: str) -> dict[str, Any]:
        """How far an operation is: `state` is running, done or failed."""
        return self._ask("GET", _path("operations", operation_id))

    def tokens(self) -> list[dict[str, Any]]:
        """Every token's name, role and times (admins)."""
        found: list[dict[str, Any]] = self._ask("GET", "/v2/tokens")["tokens"]
        return found

    def create_token(self, name: str, role: str = "inference") -> str:
        """Make a token, and return it this one time (admins)."""
        return str(self._ask("POST", "/v2/tokens", {"name": name, "role": role})["token"])

    def revoke_token(self, name: str) -> None:
        """Let a token in no more (admins)."""
        self._ask("DELETE", _path("tokens", name))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **options: str | int | None
    ) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value is not None}
        try:
            answer = self._http.request(method, path, json=None if body is None else {**body, **given})
        except httpx.HTTPError as error:
            raise Unavailable(f"no answer came to {method} {path}: {type(error).__name__}: {error}") from error
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise ControlError(
                answer.status_code if answer.is_error else 502, f"its answer to {path} is no JSON object"
            )
        if answer.is_error:
            raise ControlError(answer.status_code, str(said.get("error", answer.reason_phrase)))
        return said


def _path(*parts: str | int) -> str:
    return "/v2/" + "/".join(quote(str(part), safe="") for part in parts)


def _weight(version: int, share: float) -> int:
    weight = round(share * BUCKETS)
    if not 0 <= share <= 1 or abs(weight - share * BUCKETS) > 1e-6:
        raise InvalidInput(f"share {share!r} of version {version} must lie in 0..1, in steps of 1/{BUCKETS:,}")
    return weight


def _endpoint(found: Mapping[str, Any]) -> ServedEndpoint:
    versions = tuple(ServedVersion(**{key: each[key] for key in ServedVersion.__slots__}) for each in found["versions"])
    split = {int(version): weight for version, weight in found["split"].items()}
    return ServedEndpoint(found["name"], found["revision"], split, versions)
