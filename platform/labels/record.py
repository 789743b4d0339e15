"""Owns one label: which prediction it is of, what it says, and when; it reads no file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidInput

MAX_ID = 128  # longest request id that the edge lets pass
MAX_TEXT = 1_000
MAX_ROW = 2**31 - 1
_YEAR_10000_S = 253_402_300_800

KEYS = ("request_id", "row", "label", "time")


@dataclass(frozen=True, slots=True)
class Label:
    """What one predicted row turned out to be."""

    request_id: str
    row: int
    text: str
    """The label as a person would write it: `yes`, `3`, `2.5`, `true`."""
    value: float | None
    """The same as a number, 1 and 0 for true and false; None where it is none."""
    time_us: int | None = None
    """When it was so, from the epoch; kept, and decides nothing."""


def read_label(found: Any, place: str) -> Label:
    """Read one record of our own shape, or of SageMaker's ground truth; `place` is named where it is refused.

    >>> read_label({"request_id": "r1", "label": True}, "record 1")
    Label(request_id='r1', row=0, text='true', value=1.0, time_us=None)
    """
    if not isinstance(found, Mapping):
        raise _refused(place, f"is {_shown(found)}, and must be an object")
    if "eventMetadata" in found or "groundTruthData" in found:
        return _ground_truth(found, place)
    unknown = sorted(str(key) for key in found.keys() - set(KEYS))
    if unknown:
        raise _refused(place, f"has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    for key in ("request_id", "label"):
        if key not in found:
            raise _refused(place, f"has no {key}")
    return make_label(found["request_id"], found.get("row"), found["label"], found.get("time"), place)


def make_label(request_id: Any, row: Any, label: Any, time: Any, place: str) -> Label:
    """Check the parts of a label; `row` and `time` may be None."""
    if not isinstance(request_id, str) or not 1 <= len(request_id) <= MAX_ID:
        raise _refused(place, f"has request_id {_shown(request_id)}, which must be a text of 1 to {MAX_ID} characters")
    number = 0 if row is None else row
    if isinstance(number, float) and number.is_integer():  # a column with gaps is read as floats
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_ROW:
        raise _refused(place, f"has row {_shown(row)}, which must be a whole number from 0 on")
    text, value = _said(label, place)
    return Label(request_id, number, text, value, None if time is None else _micros(time, place))


def _ground_truth(found: Mapping[str, Any], place: str) -> Label:
    """Source: SageMaker Model Monitor, "Ingest ground truth labels and merge them with predictions"."""
    data, event = found.get("groundTruthData"), found.get("eventMetadata")
    if not isinstance(event, Mapping) or "eventId" not in event:
        raise _refused(place, "has no eventMetadata.eventId")
    if not isinstance(data, Mapping) or "data" not in data:
        raise _refused(place, "has no groundTruthData.data")
    encoding = data.get("encoding", "CSV")
    if encoding != "CSV":
        raise _refused(place, f"has groundTruthData.encoding {_shown(encoding)}, and only CSV is read")
    text = data["data"]
    if isinstance(text, str) and "," in text:
        raise _refused(place, f"has groundTruthData.data {_shown(text)}, which must be one value")
    return make_label(event["eventId"], None, text, None, place)


def _said(label: Any, place: str) -> tuple[str, float | None]:
    if isinstance(label, bool):
        return ("true", 1.0) if label else ("false", 0.0)
    if isinstance(label, int | float):
        try:
            value = float(label)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise _refused(place, f"has label {_shown(label)}, which must be a finite number")
        return str(label), value
    if not isinstance(label, str) or not 1 <= len(label) <= MAX_TEXT:
        rule = f"a text of 1 to {MAX_TEXT} characters, a number, true or false"
        raise _refused(place, f"has label {_shown(label)}, which must be {rule}")
    return label, _number(label)


def _number(text: str) -> float | None:
    if text.lower() in {"true", "false"}:
        return 1.0 if text.lower() == "true" else 0.0
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _micros(time: Any, place: str) -> int:
    """Seconds since 1970, or ISO 8601; without a zone it is taken for UTC."""
    if isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < _YEAR_10000_S:
        return round(time * 1e6)
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            time = None
    if isinstance(time, datetime):
        aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
        if aware.timestamp() >= 0:
            return round(aware.timestamp() * 1e6)
    raise _refused(place, "has a time that is neither ISO 8601 nor seconds since 1970")


def _refused(place: str, fault: str) -> InvalidInput:
    return InvalidInput(f"{place} {fault}; nothing was stored")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
