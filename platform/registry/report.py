"""Keeps a drift report beside the run that made the version; a failing MLflow is told of and fails nothing."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

from ..errors import Unavailable
from ..settings import Settings
from .server import require_answer

logger = logging.getLogger(__name__)

FOLDER = "drift"
ANSWER_TIMEOUT_S = 5.0


def log_report(settings: Settings, run_id: str, files: Mapping[str, bytes], folder: str = FOLDER) -> str | None:
    """Write files under a folder of the run's artifacts, over those of the same name.

    Returns None, or the reason in one sentence where MLflow did not take them: a drift job goes on either way.
    """
    try:
        require_answer(settings.tracking_uri, ANSWER_TIMEOUT_S)  # its client would try again for minutes
        with tempfile.TemporaryDirectory(prefix="rayloop-report-") as made:
            for name, content in files.items():
                (Path(made) / name).write_bytes(content)
            MlflowClient(settings.tracking_uri).log_artifacts(run_id, made, folder)
    except Exception as error:  # the store may be S3, a disk, a proxy: each has errors of its own
        known = isinstance(error, Unavailable)
        reason = str(error) if known else f"MLflow did not take the report of run {run_id!r}: {_first_line(error)}"
        logger.warning("%s", reason)
        return reason
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
