"""Owns the document of a drift report: what was judged, with the aggregates to draw it; holds no row of any data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..errors import InvalidInput
from ..stats import ColumnProfile, DriftReport, Profile
from .severity import by_severity
from .shape import shape_of

DOCUMENT_FORM = "rayloop.drift"
DOCUMENT_VERSION = 1
STORED_BESIDE = frozenset({"window", "version"})
"""What the drift job puts beside a report's own keys."""


def describe_drift(
    report: DriftReport,
    reference: Profile,
    window: Profile,
    *,
    title: str,
    made_s: float,
    since_s: float | None = None,
    until_s: float | None = None,
    about: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a report and the distributions of its columns as plain values; docs/reports.md says what each means.

    Times are seconds since 1970; `about` is shown in the head as it is, such as endpoint and version.
    Raises `InvalidInput` where the two profiles have different bins.
    """
    reference.require_same_bins(window)
    names = [column.column for column in report.columns]
    return {
        "form": DOCUMENT_FORM,
        "version": DOCUMENT_VERSION,
        "title": title,
        "about": dict(about or {}),
        "made_s": made_s,
        "window": {"since_s": since_s, "until_s": until_s},
        "report": report.to_dict(),
        "order": [column.column for column in by_severity(report.columns)],
        "distributions": {
            name: _distribution(reference.columns[name], window.columns[name])
            for name in names
            if name in reference.columns
        },
    }


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Write a document as compact JSON; what is not finite becomes null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def read_stored(values: Mapping[str, Any]) -> DriftReport:
    """Read the report out of what the drift job stores and gives back, or out of a document; else `InvalidInput`."""
    if values.get("form") == DOCUMENT_FORM:
        require_document(values)
        return DriftReport.from_dict(values["report"])
    return DriftReport.from_dict({name: value for name, value in values.items() if name not in STORED_BESIDE})


def worst_distributions(document: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The distributions of the columns that drift most: as much as a terminal shows."""
    drawn = document["distributions"]
    return {name: drawn[name] for name in document["order"][:most] if name in drawn}


def require_document(values: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for anything but a document of this version."""
    found = (values.get("form"), values.get("version"))
    if found != (DOCUMENT_FORM, DOCUMENT_VERSION):
        raise InvalidInput(
            f"the document is of form {found[0]!r} version {found[1]!r}, "
            f"but only {DOCUMENT_FORM!r} version {DOCUMENT_VERSION} can be read"
        )


def _distribution(reference: ColumnProfile, window: ColumnProfile) -> dict[str, Any]:
    return {
        "type": reference.binning.type,
        "shape": shape_of(reference, window).to_dict(),
        "reference": _summary(reference),
        "window": _summary(window),
    }


def _summary(side: ColumnProfile) -> dict[str, Any]:
    """What one side is in a few numbers; a number that it does not have is left out."""
    counted: dict[str, Any] = {"values": side.values, "nulls": side.nulls}
    measured: dict[str, float | None] = {}
    if side.binning.is_ordered:
        counted["nans"] = side.nans
        measured |= {"mean": side.mean, "std": side.std, "min": side.min, "max": side.max}
    if side.binning.kind != "embedding":
        measured["distinct"] = side.distinct.estimate
    return counted | {name: float(f"{value:.9g}") for name, value in measured.items() if value is not None}
