"""Owns the edge's rules for shadows: which requests are to be copied, and whose copies are let in."""

from __future__ import annotations

from ...platform.traffic import BUCKETS, MAX_SHADOWS
from ...platform.traffic.capture_schema import SHADOW_VARIANT

IS_COPY = "{ var(txn.copy_for) -m found }"


def know_a_copy() -> list[str]:
    """Set txn.copy_for to the version that a copy is for; only who has the secret can send one.

    A copy keeps the path of its original, which may name no version: MLflow's has none.
    """
    is_ours = "{ var(txn.let_in) -m str ours }"
    is_shadow = f"{{ req.fhdr(x-rayloop-variant) -m str {SHADOW_VARIANT} }}"
    return [f"http-request set-var(txn.copy_for) req.fhdr(x-rayloop-version) if {is_ours} {is_shadow}"]


def pin_a_copy() -> list[str]:
    """Send a copy to its version; being pinned, it has no bucket and is never copied again."""
    return [f"http-request set-var(txn.pinned) var(txn.copy_for) if {IS_COPY}"]


def name_the_shadows() -> list[str]:
    """Tell the replica, in x-rayloop-shadow, to which versions it shall copy the request.

    One draw serves all shadows of a request: each still gets its share, and shadows of equal shares get the same
    requests, so that they can be compared with each other. The bucket can't serve: it has chosen the version.
    """
    asked = "{ var(txn.copies) -m found }"
    one = "var(txn.copies),field({n},\\',\\')"  # a comma in quotes, which are HAProxy's second to read
    return [
        "http-request set-var(txn.copies) var(txn.split),field(-1,|),bytes(2) "
        "if { method POST } !{ var(txn.pinned) -m found } { var(txn.split),field(-1,|) -m beg s: }",
        f"http-request set-var(txn.draw) rand({BUCKETS}) if {asked}",
        *(
            f"http-request set-var-fmt(txn.shadows) %[var(txn.shadows)],%[{one.format(n=n)},field(1,:)] "
            f"if {asked} {{ {one.format(n=n)},field(2,:),sub(txn.draw) -m int gt 0 }}"
            for n in range(1, MAX_SHADOWS + 1)
        ),
        "http-request set-header x-rayloop-shadow %[var(txn.shadows),bytes(1)] if { var(txn.shadows) -m found }",
    ]
