"""Replicas on a live cluster: more and fewer of them without a restart, none while nobody asks, more under load."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rayloop.jobs.serving import scale_version
from rayloop.platform.traffic import app_name
from rayloop.serve.autoscaling import DEPLOYMENT
from rayloop.serve.versions import application_states

from .conftest import TOY_PROJECT, Live, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "scaled"
AUTOSCALE = "{min: 0, max: 2, target_ongoing: 3, upscale_delay_s: 1, downscale_delay_s: 5, idle_to_zero_s: 6}"


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one version, deployed with one replica."""
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    text = TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    (folder / "rayloop.yaml").write_text(text)
    write_rows(folder, "first", seed=1, rows=600)
    live.run("train", cwd=folder)
    live.run("deploy", NAME, cwd=folder)
    wait_until(lambda: ask(live).status_code == 200, 10, "the edge knows the endpoint")
    return folder


def test_replicas_come_and_go_without_a_restart(live: Live, project: Path) -> None:
    (first,) = pids(live)
    with asking(live) as statuses:
        assert "gets 2 replicas" in live.run("scale-version", NAME, "1", "--replicas", "2", cwd=project)
        wait_until(lambda: len(pids(live)) == 2, 60, "a second replica")
        both = pids(live)
        assert first in both
        assert "v1 (2/2 replicas)" in live.run("status", cwd=project)
        assert " 2/2 " in live.run("versions", NAME, cwd=project)
        scale_version(live.workspace, NAME, 1, 1)
        wait_until(lambda: len(pids(live)) == 1, 30, "one replica less")
        assert pids(live) < both
        time.sleep(3)  # the one that leaves is still reachable, and may not be asked in vain
    assert set(statuses) == {200}
    assert statuses[200] > 100


def test_an_idle_version_goes_to_zero_and_comes_back_for_one_request_and_for_twenty(live: Live, project: Path) -> None:
    file = project / "rayloop.yaml"
    file.write_text(file.read_text().replace("serve: {cpus: 0.25", f"serve: {{autoscale: {AUTOSCALE}, cpus: 0.25"))
    live.run("data", "add", cwd=project)
    live.run("deploy", NAME, "--version", "1", cwd=project)
    said = live.run("scale-version", NAME, "1", "--replicas", "3", cwd=project, expect=4)
    assert "scales by itself, from 0 to 2 replicas" in said
    for requests in (1, 20):
        wait_until(lambda: not pids(live), 90, "no replica while nobody asks")
        wait_until(lambda: not listening(live), 10, "the edge forgets the replica that drains")
        assert "0/0 replicas, 0 to 2 by load" in live.run("status", cwd=project)
        began_s = time.monotonic()
        answers = asyncio.run(ask_at_once(live, requests))
        print(f"{requests} at once from zero: {time.monotonic() - began_s:.1f} s")
        assert [answer.status_code for answer in answers] == [200] * requests
        # The edge asks a replica a moment before Serve counts it.
        wait_until(lambda: bool(pids(live)), 10, "Serve counts the replica")


def test_load_starts_a_second_replica_and_keeps_the_first(live: Live, project: Path) -> None:
    assert ask(live).status_code == 200
    wait_until(lambda: bool(pids(live)), 10, "Serve counts the replica")
    before = pids(live)
    with asking(live, clients=12, rows=3_000) as statuses:
        wait_until(lambda: len(pids(live)) == 2, 60, "a second replica under load")
    assert before < pids(live)
    assert set(statuses) == {200}


def test_new_bounds_restart_nothing(live: Live, project: Path) -> None:
    file = project / "rayloop.yaml"
    file.write_text(file.read_text().replace("min: 0, max: 2", "min: 2, max: 3"))
    live.run("data", "add", cwd=project)
    before = pids(live)
    live.run("deploy", NAME, "--version", "1", cwd=project)
    wait_until(lambda: len(pids(live)) == 2, 60, "the lower bound")
    assert pids(live) & before
    assert "2 to 3 by load" in live.run("status", cwd=project)


def listening(live: Live) -> list[str]:
    """Where the edge asks replicas of the version itself."""
    return [found.address for found in live.workspace.replicas.all() if found.endpoint == NAME]


def pids(live: Live) -> set[int]:
    """The processes of the replicas that run."""
    found = application_states(live.settings)[app_name(NAME, 1)]["deployments"][DEPLOYMENT]["replicas"]
    return {replica["pid"] for replica in found if replica["state"] == "RUNNING"}


def body(rows: int = 1) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [0.5] * (4 * rows)}]}


def ask(live: Live) -> httpx.Response:
    return httpx.post(f"{live.settings.edge_url}/v2/models/{NAME}/infer", json=body(), timeout=100)


async def ask_at_once(live: Live, requests: int) -> list[httpx.Response]:
    url = f"{live.settings.edge_url}/v2/models/{NAME}/infer"
    async with httpx.AsyncClient(timeout=100) as client:
        return await asyncio.gather(*(client.post(url, json=body()) for _ in range(requests)))


@contextmanager
def asking(live: Live, clients: int = 2, rows: int = 1) -> Iterator[Counter[int]]:
    """Ask without a pause meanwhile; the counts of each status, complete at the end."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def run() -> None:
        url, content = f"{live.settings.edge_url}/v2/models/{NAME}/infer", body(rows)
        with httpx.Client(timeout=100) as client:
            while not over.is_set():
                statuses[client.post(url, json=content).status_code] += 1
                time.sleep(0.005)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()
