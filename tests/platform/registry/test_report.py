"""A report lies beside the run, and whatever MLflow does, the caller goes on."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rayloop.platform.registry.report import log_report
from rayloop.platform.settings import Settings


@pytest.fixture
def run_id(settings: Settings) -> str:
    client = MlflowClient(settings.tracking_uri)
    found = client.get_experiment_by_name("reports")
    folder = (Path(settings.store) / "mlflow" / "reports").absolute().as_uri()
    experiment = found.experiment_id if found else client.create_experiment("reports", folder)
    return str(client.create_run(experiment).info.run_id)


def test_files_are_the_run_s_artifacts(settings: Settings, run_id: str, tmp_path: Path) -> None:
    for page in (b"<p>first", b"<p>second"):
        assert log_report(settings, run_id, {"report.html": page, "report.json": b"{}"}, "drift/latest") is None
    client = MlflowClient(settings.tracking_uri)
    paths = [found.path for found in client.list_artifacts(run_id, "drift/latest")]
    assert paths == ["drift/latest/report.html", "drift/latest/report.json"]
    assert Path(client.download_artifacts(run_id, paths[0], str(tmp_path))).read_bytes() == b"<p>second"


def test_an_unknown_run_is_told_and_fails_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        reason = log_report(settings, "no-such-run", {"report.json": b"{}"})
    assert reason is not None
    assert reason.startswith("MLflow did not take the report of run 'no-such-run': ")
    assert "\n" not in reason
    assert reason in caplog.text


def test_an_mlflow_that_is_down_is_told_at_once(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{port}"})
    reason = log_report(away, "any", {"report.json": b"{}"})
    assert reason is not None
    assert reason.startswith(f"no MLflow server answers at http://127.0.0.1:{port}")
