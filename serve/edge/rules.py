"""Owns the rules of the edge's frontend, in HAProxy's language; writes no file and starts nothing."""

from __future__ import annotations

from ...platform.traffic import BUCKETS, MAX_VARIANTS
from ...platform.traffic.capture_schema import SHADOW_VARIANT
from .answers import ERRORS, JSON_REFUSALS, Refusals, json_body
from .control import control_rules
from .counts import TABLE
from .listings import listings, liveness, methods_of_health
from .settings import EdgeSettings
from .shadow import IS_COPY, know_a_copy, name_the_shadows, pin_a_copy

BACKEND = "serve"
LIMITS = "limits"
_IS_FOR_A_MODEL = "{ var(txn.for_a_model) -m found }"
_FOR_A_MODEL = "http-request set-var(txn.for_a_model) bool(true) if { path_beg /v1/models/ /v2/models/ /mlflow/ }"
SESSION_HASH_SEED = 7


def frontend_rules(settings: EdgeSettings) -> list[str]:
    """Give the rules that every request goes through, in their order."""
    return [
        *name_the_request(),
        _FOR_A_MODEL,
        *_elsewhere(_answer_anybody()),
        *let_in(settings, JSON_REFUSALS),
        *hold_back(settings, JSON_REFUSALS),
        *_distrust_the_client(settings),
        *_elsewhere(control_rules(settings)),
        *_elsewhere(listings(settings)),
        _FOR_A_MODEL,  # once more, as a path may have become one
        f"http-request return status 404 {json_body({'error': ERRORS[404]})} "
        f"if !{_IS_FOR_A_MODEL} || {{ path_sub /.. }}",
        *_name_the_model(),
        *pick_version(settings, JSON_REFUSALS),
        *_hand_over(settings),
    ]


def _elsewhere(rules: list[str]) -> list[str]:
    """Have rules for other paths passed over by one look where a model is asked, which is nearly always."""
    passed_over = f" if !{_IS_FOR_A_MODEL}"
    return [
        rule.replace(" if", passed_over, 1) if " if " in rule else rule + ("" if rule.startswith("#") else passed_over)
        for rule in rules
    ]


def name_the_request() -> list[str]:
    """Set txn.request_id, and have every answer name it, and the version and the revision where they are known."""
    given = "{ req.fhdr(x-request-id),length gt 0 } { req.fhdr(x-request-id),length le 128 }"
    return [
        "http-request set-var(txn.request_id) uuid()",
        f"http-request set-var(txn.request_id) req.fhdr(x-request-id) if {given}",
        "http-response del-header x-rayloop-secret",
        # after-response rules see the edge's own answers as well
        *(
            f"http-after-response set-header {header} %[var(txn.{name})] if {{ var(txn.{name}) -m found }}"
            for header, name in [
                ("x-request-id", "request_id"),
                ("x-rayloop-version", "version"),
                ("x-rayloop-revision", "revision"),
            ]
        ),
    ]


def _answer_anybody() -> list[str]:
    closed = {"error": "paths under /__v are not open to clients"}
    return [
        f"http-request return status 403 {json_body(closed)} if {{ path_beg /__v }}",
        *liveness(),
        *methods_of_health(),
        f"http-request return status 200 {json_body({'live': True})} if {{ path /v2/health/live }}",
        f"http-request return status 200 {json_body({'ready': True, 'live': True})} "
        f"if {{ path /v2/health/ready }} {{ nbsrv({BACKEND}) gt 0 }}",
        f"http-request return status 503 {json_body({'error': ERRORS[503], 'ready': False, 'live': True})} "
        "if { path /v2/health/ready }",
    ]


def let_in(settings: EdgeSettings, refusals: Refusals) -> list[str]:
    """Refuse unless a valid token was given, the edge is open, or one of us asks; set txn.client by a token."""
    bearer = "{ req.fhdr(authorization) -m beg -i 'bearer ' }"
    # Whoever has the secret could ask the replicas themselves.
    ours = f"{{ req.fhdr(x-rayloop-secret) -m str {settings.secret} }}"
    is_let_in, tokens = "{ var(txn.let_in) -m found }", settings.tokens_map
    return [
        f"http-request set-var(txn.grant) req.fhdr(authorization),bytes(7),sha2(256),hex,lower,map('{tokens}') "
        f"if {bearer}",
        "http-request set-var(txn.let_in) str(token) if { var(txn.grant) -m found }",
        f"http-request set-var(txn.let_in) str(open) if {{ str(open),map('{tokens}') -m found }}",
        f"http-request set-var(txn.let_in) str(ours) if {ours}",
        f"http-request return {refusals.no_token} if !{is_let_in} !{{ req.fhdr(authorization) -m found }}",
        f"http-request return {refusals.bad_token} if !{is_let_in}",
        "http-request set-var(txn.client) var(txn.grant),field(2,|) if { var(txn.grant) -m found }",
    ]


def hold_back(settings: EdgeSettings, refusals: Refusals) -> list[str]:
    """Refuse a token, or an address on an open edge, that had its requests of this second."""
    if not settings.requests_per_s:
        return []
    others = "!{ var(txn.let_in) -m str ours }"
    return [
        "http-request set-var(txn.payer) src",
        "http-request set-var(txn.payer) var(txn.client) if { var(txn.client) -m found }",
        f"http-request track-sc0 var(txn.payer) table {LIMITS} if {others}",
        f"http-request return {refusals.too_many} if {{ sc0_gpc0_rate ge {settings.requests_per_s} }}",
        # What was refused is not counted: who asks too often still gets his share.
        f"http-request sc-inc-gpc0(0) if {others}",
    ]


def _distrust_the_client(settings: EdgeSettings) -> list[str]:
    limit_bytes, buffer_bytes = settings.max_body_bytes, settings.buffered_body_bytes
    too_large = {"error": f"the body is larger than {limit_bytes} bytes"}
    # What comes without a length is counted in the buffer, and no further.
    too_vague = {"error": f"a body larger than {buffer_bytes} bytes needs a content-length"}
    return [
        # `deny status` would answer with an empty body, whatever http-error says.
        f"http-request return status 413 {json_body(too_large)} if {{ req.body_size gt {limit_bytes} }}",
        f"http-request return status 413 {json_body(too_vague)} "
        f"if {{ req.hdr(transfer-encoding) -m found }} {{ req.body_size gt {buffer_bytes} }}",
        *know_a_copy(),
        "http-request del-header x-rayloop- -m beg",
        "http-request del-header authorization",
    ]


def _name_the_model() -> list[str]:
    """Set txn.model, and txn.pinned where one version is asked for, by the path."""
    return [
        "http-request set-var(txn.route) path",
        "http-request set-var(txn.route) path,regsub(^/mlflow/,/v2/models/) if { path_beg /mlflow/ }",
        "http-request set-var(txn.model) var(txn.route),field(4,/),field(1,:)",
        # With a slash at its end even a path that stops at /versions has a sixth field, an empty one.
        "http-request set-var(txn.pinned) var(txn.route),concat(/),field(6,/),field(1,:) "
        "if { var(txn.route),field(5,/) -m str versions }",
        *pin_a_copy(),
    ]


def pick_version(settings: EdgeSettings, refusals: Refusals) -> list[str]:
    """Set txn.pick to the `threshold:version:weight` of one version of txn.model, or refuse."""
    pinned, picked = "{ var(txn.pinned) -m found }", "{ var(txn.pick) -m found }"
    sticky = f"var(txn.session),concat(:,txn.model),xxh32({SESSION_HASH_SEED}),mod({BUCKETS})"
    return [
        f"http-request set-var(txn.alias) var(txn.model),map('{settings.alias_map}')",
        "http-request set-var(txn.model) var(txn.alias) if { var(txn.alias) -m found }",
        f"http-request set-var(txn.split) var(txn.model),map('{settings.split_map}')",
        f"http-request set-var(txn.app) var(txn.model),concat(/,txn.pinned),map('{settings.versions_map}') if {pinned}",
        f"http-request return {refusals.unknown_version} if {pinned} !{{ var(txn.app) -m found }}",
        f"http-request return {refusals.unknown_model} if !{pinned} !{{ var(txn.split) -m found }}",
        "http-request set-var(txn.revision) var(txn.split),field(1,|) if { var(txn.split) -m found }",
        f"http-request set-var-fmt(txn.pick) {BUCKETS}:%[var(txn.pinned)]:{BUCKETS} if {pinned}",
        *_name_the_session(settings),
        f"http-request set-var(txn.bucket) rand({BUCKETS}) if !{pinned}",
        f"http-request set-var(txn.bucket) {sticky} if !{pinned} {{ var(txn.session),length gt 0 }}",
        *(
            f"http-request set-var(txn.pick) var(txn.split),field({number},|) "
            f"if !{picked} {{ var(txn.split),field({number},|),field(1,:),sub(txn.bucket) -m int gt 0 }}"
            for number in range(2, MAX_VARIANTS + 2)
        ),
        f"http-request return {refusals.failed} if !{picked}",
    ]


def _name_the_session(settings: EdgeSettings) -> list[str]:
    readers = {"header": "req.fhdr", "cookie": "req.cook"}
    return [
        f"http-request set-var(txn.sticky) var(txn.model),map('{settings.sticky_map}')",
        f"http-request set-var(txn.session) req.fhdr({settings.session_header}) if !{{ var(txn.sticky) -m found }}",
        *(
            f"http-request set-var(txn.session) {readers[sticky.kind]}({sticky.name}) "
            f"if {{ var(txn.sticky) -m str {sticky.map_value()} }}"
            for sticky in settings.sticky
        ),
    ]


def tell_the_replica(settings: EdgeSettings) -> list[str]:
    """Set txn.app, and the headers by which the edge proves itself and tells why it chose this version."""
    bucket, revision = "{ var(txn.bucket) -m found }", "{ var(txn.revision) -m found }"
    return [
        "http-request set-var(txn.version) var(txn.pick),field(2,:)",
        f"http-request set-header x-rayloop-secret {settings.secret}",
        "http-request set-header x-rayloop-endpoint %[var(txn.model)]",
        "http-request set-header x-rayloop-version %[var(txn.version)]",
        "http-request set-var(txn.variant) str(split)",
        "http-request set-var(txn.variant) str(pinned) if { var(txn.pinned) -m found }",
        f"http-request set-var(txn.variant) str({SHADOW_VARIANT}) if {IS_COPY}",
        "http-request set-header x-rayloop-variant %[var(txn.variant)]",
        *name_the_shadows(),
        "http-request set-header x-rayloop-propensity %[var(txn.pick),field(3,:)]",
        f"http-request set-header x-rayloop-bucket %[var(txn.bucket)] if {bucket}",
        f"http-request set-header x-rayloop-revision %[var(txn.revision)] if {revision}",
        "http-request set-header x-rayloop-client %[var(txn.client)] if { var(txn.client) -m found }",
        "http-request set-header x-request-id %[var(txn.request_id)]",
        "http-request set-var-fmt(txn.app) %[var(txn.model)]--v%[var(txn.version)]",
        *(_count() if settings.metrics_port else []),
    ]


def _count() -> list[str]:
    return [
        "http-request set-var-fmt(txn.counted) %[var(txn.app)]/%[var(txn.variant)]",
        f"http-request track-sc1 var(txn.counted) table {TABLE}",
    ]


def _hand_over(settings: EdgeSettings) -> list[str]:
    return [
        *tell_the_replica(settings),
        # It spares the replica a task for each request that only watches for the client to go away.
        "http-request set-header x-request-disconnect-disabled ?1",
        *_name_the_endpoint(),
        "http-request set-path /__v/%[var(txn.app)]%[path]",
    ]


def _name_the_endpoint() -> list[str]:
    """Put the endpoint's own name into the path where an alias stands: replicas answer to that alone."""
    aliased = "{ var(txn.alias) -m found }"
    return [
        f"http-request set-var(txn.rest) path,regsub(^/v[12]/models/[^/:]+,) if {aliased} !{{ path_beg /mlflow/ }}",
        f"http-request set-var(txn.rest) path,regsub(^/mlflow/[^/:]+,) if {aliased} {{ path_beg /mlflow/ }}",
        f"http-request set-path /mlflow/%[var(txn.model)]%[var(txn.rest)] if {aliased} {{ path_beg /mlflow/ }}",
        f"http-request set-path /v1/models/%[var(txn.model)]%[var(txn.rest)] if {aliased} {{ path_beg /v1/ }}",
        f"http-request set-path /v2/models/%[var(txn.model)]%[var(txn.rest)] if {aliased} {{ path_beg /v2/ }}",
    ]
