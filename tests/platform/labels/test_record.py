"""A label is read as it was meant, and refused in one sentence that says where and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.labels import Label
from rayloop.platform.labels.record import make_label, read_label

NOON_US = 1_767_268_800_000_000


@pytest.mark.parametrize(
    ("given", "text", "value"),
    [
        ("yes", "yes", None),
        ("1", "1", 1.0),
        ("01", "01", 1.0),
        ("True", "True", 1.0),
        ("nan", "nan", None),
        (1, "1", 1.0),
        (0, "0", 0.0),
        (2.5, "2.5", 2.5),
        (True, "true", 1.0),
        (False, "false", 0.0),
    ],
)
def test_a_label_is_a_text_and_where_it_can_be_a_number(given: Any, text: str, value: float | None) -> None:
    assert read_label({"request_id": "r", "label": given}, "record 1") == Label("r", 0, text, value)


@pytest.mark.parametrize(
    "time", [NOON_US / 1e6, "2026-01-01T12:00:00Z", "2026-01-01T13:00:00+01:00", "2026-01-01 12:00"]
)
def test_a_time_is_iso_or_seconds(time: Any) -> None:
    assert read_label({"request_id": "r", "label": 1, "row": 3, "time": time}, "x").time_us == NOON_US
    assert make_label("r", 3, 1, datetime(2026, 1, 1, 12, tzinfo=UTC), "x").time_us == NOON_US


def test_sagemaker_s_ground_truth_is_a_label() -> None:
    found = {
        "groundTruthData": {"data": "1", "encoding": "CSV"},
        "eventMetadata": {"eventId": "aa-1", "eventTime": "2026-01-01T12:00:00Z"},
        "eventVersion": "0",
    }
    assert read_label(found, "line 1") == Label("aa-1", 0, "1", 1.0)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (7, "is 7, and must be an object"),
        ({}, "has no request_id"),
        ({"request_id": "r"}, "has no label"),
        ({"request_id": "r", "label": None}, "has label null, which must be a text of 1 to 1000"),
        ({"request_id": "r", "label": ""}, 'has label "", which must be a text'),
        ({"request_id": "r", "label": [1]}, r"has label \[1\], which must be a text"),
        ({"request_id": "r", "label": float("inf")}, "has label Infinity, which must be a finite number"),
        ({"request_id": "r", "label": 10**400}, "which must be a finite number"),
        ({"request_id": 5, "label": 1}, "has request_id 5, which must be a text of 1 to 128 characters"),
        ({"request_id": "x" * 129, "label": 1}, "which must be a text of 1 to 128 characters"),
        ({"request_id": "r", "label": 1, "row": -1}, "has row -1, which must be a whole number from 0 on"),
        ({"request_id": "r", "label": 1, "row": True}, "has row true, which must be"),
        ({"request_id": "r", "label": 1, "row": 1.5}, "has row 1.5, which must be"),
        ({"request_id": "r", "label": 1, "time": "noon"}, "has a time that is neither ISO 8601 nor seconds"),
        ({"request_id": "r", "label": 1, "time": 1e12}, "has a time that is neither"),
        ({"request_id": "r", "label": 1, "lable": 1}, "has the unknown key 'lable'; known are request_id, row"),
        ({"groundTruthData": {"data": "1", "encoding": "CSV"}}, "has no eventMetadata.eventId"),
        ({"eventMetadata": {"eventId": "r"}}, "has no groundTruthData.data"),
        (
            {"eventMetadata": {"eventId": "r"}, "groundTruthData": {"data": "MQ==", "encoding": "BASE64"}},
            'encoding "BASE64", and only CSV is read',
        ),
        (
            {"eventMetadata": {"eventId": "r"}, "groundTruthData": {"data": "1,2", "encoding": "CSV"}},
            'data "1,2", which must be one value',
        ),
    ],
)
def test_what_is_no_label_is_refused_with_its_place(given: Any, fault: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^record 4 .*{fault}.*; nothing was stored$"):
        read_label(given, "record 4")
