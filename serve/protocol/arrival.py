"""Owns what is known of a request as it arrives: name, time and place in the split; it reads headers only."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from ...platform.traffic.split import BUCKETS

REQUEST_ID_HEADER = "x-request-id"
VARIANT_HEADER = "x-rayloop-variant"
PROPENSITY_HEADER = "x-rayloop-propensity"
BUCKET_HEADER = "x-rayloop-bucket"
REVISION_HEADER = "x-rayloop-revision"

# What may stand in a header of the answer and in a log line without doing harm.
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Arrival(NamedTuple):  # made for each request: a frozen dataclass takes five times as long
    """When a request came, and how the split of `revision` sent it here.

    `propensity` is the probability, in (0, 1], with which the split picks this version; `started_s` is on the
    monotonic clock, `time_us` counts from the epoch. None where the edge said nothing.
    """

    request_id: str
    time_us: int
    started_s: float
    variant: str | None = None
    propensity: float | None = None
    bucket: int | None = None
    revision: int | None = None


def read_arrival(headers: Mapping[str, str], time_us: int | None = None) -> Arrival:
    """Read the headers of a request that comes now.

    A missing, long or unprintable request id is replaced by a UUID. The edge writes the propensity as the
    weight of the version, in 1/10,000.
    """
    request_id = headers.get(REQUEST_ID_HEADER, "")
    weight = _whole(headers.get(PROPENSITY_HEADER), max_digits=5)
    return Arrival(
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4()),
        time_us=time.time_ns() // 1_000 if time_us is None else time_us,
        started_s=time.perf_counter(),
        variant=headers.get(VARIANT_HEADER),
        propensity=None if weight is None else weight / BUCKETS,
        bucket=_whole(headers.get(BUCKET_HEADER), max_digits=9),
        revision=_whole(headers.get(REVISION_HEADER), max_digits=15),
    )


def _whole(text: str | None, *, max_digits: int) -> int | None:
    if text is None or len(text) > max_digits or not (text.isascii() and text.isdigit()):
        return None
    return int(text)
