"""Says whether the MLflow server answers at all, before its client tries again for minutes."""

from __future__ import annotations

import httpx

from ..errors import Unavailable


def require_answer(tracking_uri: str, timeout_s: float = 10.0) -> None:
    """Raise Unavailable where no MLflow server answers; a database is not asked."""
    if not tracking_uri.startswith(("http://", "https://")):
        return
    try:
        httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=timeout_s)
    except httpx.HTTPError:
        raise Unavailable(f"no MLflow server answers at {tracking_uri}: `rayloop up` starts one here") from None
