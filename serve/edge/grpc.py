"""Owns the edge's way of gRPC: its frontend, its answers and its backends; versions are picked by the same rules.

The model's name is the first field of each message that names a model, and the version the second, so they are read
out of the body. HAProxy can write no trailers: all that it says itself is an error, which gRPC allows in the head.
"""

from __future__ import annotations

from .answers import ERRORS, Refusals
from .rules import hold_back, let_in, name_the_request, pick_version, tell_the_replica
from .servers import GRPC_SLOT
from .settings import EdgeSettings

SERVICE = "/inference.GRPCInferenceService"
NO_BACKEND = "grpc-none"

# What a call came to, as gRPC numbers it.
INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 4, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16

_OF_SERVER = f"{{ path {SERVICE}/ServerLive {SERVICE}/ServerReady {SERVICE}/ServerMetadata }}"
_IS_HEALTH = f"{{ path {SERVICE}/ServerLive {SERVICE}/ServerReady }}"
_OF_MODEL = f"{{ path {SERVICE}/ModelInfer {SERVICE}/ModelReady {SERVICE}/ModelMetadata }}"
# One byte says whether a message is compressed, four how long it is.
_IS_COMPRESSED = "{ req.body,bytes(0,1),hex -m str 01 }"
_MESSAGE_BYTES = "req.body,bytes(1,4),hex,hex2i"
# Unlike `ungrpc`, this reads the first fields of a message that is longer than the buffer.
_FIELD = "req.body,bytes(5),protobuf({number})"

_CODES = {
    400: INVALID_ARGUMENT,
    408: DEADLINE_EXCEEDED,
    500: INTERNAL,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}
_DOWN = "no replica of this version answers gRPC"


def grpc_error(code: int, sentence: str) -> str:
    """Format, behind a status, an answer that is nothing but an error."""
    return f"hdr grpc-status {code} hdr grpc-message '{sentence}'"


def _refusal(code: int, sentence: str) -> str:
    return f"status 200 {grpc_error(code, sentence)}"


# Of a message everything but printable ASCII is escaped, and so is the percent sign.
_ASKED_MODEL = "%[var(txn.model),bytes(0,64),url_enc]"
_ASKED_VERSION = "%[var(txn.pinned),bytes(0,64),url_enc]"
REFUSALS = Refusals(
    no_token=_refusal(UNAUTHENTICATED, ERRORS[401]),
    bad_token=_refusal(UNAUTHENTICATED, "the token is not known, or was revoked"),
    too_many=_refusal(RESOURCE_EXHAUSTED, ERRORS[429]),
    unknown_model=_refusal(NOT_FOUND, f'model "{_ASKED_MODEL}" is not served here'),
    unknown_version=_refusal(NOT_FOUND, f'version "{_ASKED_VERSION}" of model "{_ASKED_MODEL}" is not served here'),
    failed=_refusal(INTERNAL, ERRORS[500]),
)


def grpc_errors() -> list[str]:
    """Word what HAProxy says by itself; `frontend` makes its status the 200 of every gRPC answer."""
    sentences = ERRORS | {503: _DOWN}
    return [f"http-error status {status} {grpc_error(code, sentences[status])}" for status, code in _CODES.items()]


def grpc_sections(settings: EdgeSettings) -> list[tuple[str, list[str]]]:
    """Give the frontend, and a backend for the gRPC of each slot."""
    balance = ["balance leastconn", "http-reuse always"]
    slots = [(f"backend {GRPC_SLOT}{place}", balance) for place in range(settings.slots)]
    return [("frontend grpc", _frontend(settings)), *slots, (f"backend {NO_BACKEND}", [])]


def _frontend(settings: EdgeSettings) -> list[str]:
    slot = f"var(txn.app),map('{settings.slots_map}')"
    places = range(settings.slots)
    return [
        f"bind {settings.bind(settings.grpc_port)} {'alpn h2' if settings.certificate else 'proto h2'}",
        *name_the_request(),
        "http-after-response set-status 200",
        # HAProxy gives an answer without a body no type.
        "http-after-response set-header content-type application/grpc",
        f"http-request return {_refusal(UNIMPLEMENTED, ERRORS[404])} if !{_OF_SERVER} !{_OF_MODEL}",
        # As by HTTP, everybody may ask whether it lives, and as often as he likes.
        f"http-request set-var(txn.let_in) str(health) if {_IS_HEALTH}",
        *let_in(settings, REFUSALS),
        "http-request del-header x-rayloop- -m beg",
        "http-request del-header authorization",
        f"http-request set-header x-rayloop-secret {settings.secret}",
        "http-request set-header x-request-id %[var(txn.request_id)]",
        f"http-request allow if {_IS_HEALTH}",
        *hold_back(settings, REFUSALS),
        f"http-request allow if {_OF_SERVER}",
        *_name_the_model(settings),
        *pick_version(settings, REFUSALS),
        *tell_the_replica(settings),
        f"use_backend g%[{slot}] if {{ {slot} -m found }}",
        # Whatever replica there is can tell of the server.
        *(f"use_backend {GRPC_SLOT}{n} if {_OF_SERVER} {{ nbsrv({GRPC_SLOT}{n}) gt 0 }}" for n in places),
        f"default_backend {NO_BACKEND}",
    ]


def _name_the_model(settings: EdgeSettings) -> list[str]:
    """Set txn.model, and txn.pinned where one version is asked for, by the first fields of the message."""
    limit_bytes = settings.max_body_bytes
    too_large = f"the message is larger than {limit_bytes} bytes"
    packed = "compressed messages are not read here, since the edge reads the name of the model"
    version = _FIELD.format(number=2)
    return [
        f"http-request return {_refusal(UNIMPLEMENTED, packed)} hdr grpc-accept-encoding identity if {_IS_COMPRESSED}",
        f"http-request return {_refusal(RESOURCE_EXHAUSTED, too_large)} if {{ {_MESSAGE_BYTES} gt {limit_bytes} }}",
        "http-request set-var(txn.model) str()",
        f"http-request set-var(txn.model) {_FIELD.format(number=1)}",
        f"http-request set-var(txn.pinned) {version} if {{ {version},length gt 0 }}",
    ]
