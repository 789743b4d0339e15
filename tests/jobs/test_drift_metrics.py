"""Prometheus asks the control API for the newest drift verdicts of what is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from rayloop.jobs.control.api import Api
from rayloop.jobs.control.application import ControlApplication
from rayloop.platform.state import Deployment
from rayloop.platform.stats import ColumnDrift, DriftReport
from rayloop.platform.workspace import Workspace

SECRET = "only-the-edge-knows"


def build_report(verdict: Any, value: float) -> DriftReport:
    column = ColumnDrift("age", "numeric", {"psi": value}, "psi", value, 0.2, 0.01, 0.01, 0.02, verdict, "because")
    return DriftReport(3_000, 1_000, (column,), 1.0, verdict, "because", 0.05)


@pytest.fixture
def application(workspace: Workspace) -> Iterator[ControlApplication]:
    made = ControlApplication(Api(workspace), SECRET)
    yield made
    made.close()


def scrape(application: ControlApplication, role: str = "ours") -> httpx.Response:
    async def send() -> httpx.Response:
        headers = {"x-rayloop-secret": SECRET, "x-rayloop-role": role}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://edge") as client:
            return await client.get("/drift/metrics", headers=headers)

    return asyncio.run(send())


def serve(workspace: Workspace, endpoint: str) -> None:
    workspace.endpoints.add_deployment(Deployment(endpoint, 1, "file:///nowhere", {}))


def test_the_newest_verdict_of_what_is_served_is_told(workspace: Workspace, application: ControlApplication) -> None:
    for name in ("churn", "fraud", "old"):
        serve(workspace, name)
    beside = {"window": [0.0, 1.0], "version": 1}
    for endpoint, verdict, value in [("churn", "none", 0.1), ("churn", "drift", 0.5), ("gone", "drift", 0.9)]:
        workspace.verdicts.add_drift(endpoint, 1, verdict, build_report(verdict, value).to_dict() | beside)
    workspace.verdicts.add_drift("fraud", 1, "none", build_report("none", 0.01).to_dict() | beside)
    workspace.verdicts.add_drift("old", 1, "stable", {"format": 1, "verdict": "stable"} | beside)
    answer = scrape(application)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    values = [line for line in answer.text.splitlines() if line.startswith("rayloop_drift_value{")]
    assert values == [
        'rayloop_drift_value{endpoint="churn",version="1",column="age",statistic="psi"} 0.5',
        'rayloop_drift_value{endpoint="fraud",version="1",column="age",statistic="psi"} 0.01',
    ]
    assert "rayloop_drift_reports_unreadable 1\n" in answer.text
    assert "gone" not in answer.text


def test_nothing_served_is_a_page_and_a_stranger_gets_none(application: ControlApplication) -> None:
    assert scrape(application).text.endswith("rayloop_drift_reports_unreadable 0\n")
    assert scrape(application, role="inference").status_code == 403
