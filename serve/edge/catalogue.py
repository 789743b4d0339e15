"""Owns the lists of what is served, as the edge tells them to clients; what really answers it does not know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...platform.traffic import Split

# A value goes through one of HAProxy's buffers, whole.
MAX_LIST_BYTES = 30_000


def catalogue(
    splits: Sequence[Split], versions: Mapping[str, Sequence[int]], aliases: Mapping[str, str]
) -> dict[str, str]:
    """Write the lists that clients ask for, by name, as JSON without spaces.

    `models` is for V2 and V1, `index` for Triton's repository and `ready` the part of it that is ready, `endpoints`
    for mlflow.deployments. The index says READY for a version that a split names and UNKNOWN for one that is only
    kept up. What does not fit 30,000 bytes is left out from the end.
    """
    in_split = {(split.endpoint, variant.version) for split in splits for variant in split.variants}
    endpoints = {split.endpoint for split in splits} | set(versions)
    served = endpoints | {alias for alias, endpoint in aliases.items() if endpoint in endpoints}
    index = [
        {
            "name": name,
            "version": str(version),
            "state": "READY" if (name, version) in in_split else "UNKNOWN",
            "reason": "",  # MLServer's reader asks for one
        }
        for name in sorted(versions)
        for version in sorted(versions[name])
    ]
    ready = [entry for entry in index if entry["state"] == "READY"]
    split = {each.endpoint for each in splits}
    asked = split | {alias for alias, endpoint in aliases.items() if endpoint in split}
    return {
        "models": _fitting(sorted(served), lambda names: {"models": names}),
        "index": _fitting(index, list),
        "ready": _fitting(ready, list),
        "endpoints": _fitting(map(shown_endpoint, sorted(asked)), lambda entries: {"endpoints": entries}),
    }


def shown_endpoint(name: str) -> dict[str, Any]:
    """Describe an endpoint as mlflow.deployments reads one; none of MLflow's own types is for tables."""
    return {
        "name": name,
        "endpoint_type": "rayloop/v1/invocations",
        "model": {"name": name, "provider": "rayloop"},
        "endpoint_url": f"/endpoints/{name}/invocations",
        "limit": None,
    }


def _fitting(entries: Iterable[Any], shape: Callable[[list[Any]], Any]) -> str:
    kept = list(entries)
    while len(text := json.dumps(shape(kept), separators=(",", ":"))) > MAX_LIST_BYTES:
        # Cut by as much as it is too long, and at least by one.
        kept = kept[: min(len(kept) - 1, len(kept) * MAX_LIST_BYTES // len(text))]
    return text
