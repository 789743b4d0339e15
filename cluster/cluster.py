"""One Ray cluster, near or far, seen through its dashboard's HTTP address: jobs, logs, nodes, size."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ..platform.errors import InvalidInput, NotFound, RayloopError, Unavailable
from ..platform.settings import Settings
from .local import LocalCluster, require_local, scale_local

SCALE_TIMEOUT_S = 60.0
CHATTY_LOGGERS = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
ERROR_SIGN = "[rayloop:error] "  # a job of ours that fails on purpose begins its last line with this


class JobFailed(RayloopError):
    """A job ended without success; `reason` is its last word, and its exit code is handed on with that."""

    exit_code = 1

    def __init__(self, job: str, state: str, reason: str, exit_code: int = 1) -> None:
        super().__init__(job, state, reason, exit_code)
        self.job, self.state, self.reason, self.exit_code = job, state, reason, exit_code

    def __str__(self) -> str:
        return self.reason or f"job {self.job} ended as {self.state.lower()}: `rayloop logs {self.job}` says more"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One Ray node."""

    node_id: str
    ip: str
    is_head: bool
    cpus: float
    gpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The living nodes of a cluster, and its jobs by state."""

    address: str
    nodes: tuple[NodeStatus, ...]
    jobs: Mapping[str, int]

    @property
    def cpus(self) -> float:
        """Logical CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)


class Cluster:
    """A handle on a cluster; it holds an address and no connection."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = settings.address.rstrip("/")

    @classmethod
    def start(cls, settings: Settings | None = None, *, cpus: int | None = None, gpus: int | None = None) -> Cluster:
        """Start Ray on this machine. Raises Conflict where it runs already or a port is busy."""
        settings = settings or Settings.load()
        LocalCluster.start(settings, cpus=cpus, gpus=gpus)
        return cls(settings)

    @classmethod
    def connect(cls, address: str | None = None, settings: Settings | None = None) -> Cluster:
        """A running cluster by its dashboard address. Raises Unavailable where nobody answers there."""
        settings = settings or Settings.load(address=address)
        if address is not None and settings.address != address:
            settings = settings.model_copy(update={"address": address})
        cluster = cls(settings)
        cluster._get("/api/version")
        return cluster

    def status(self) -> ClusterStatus:
        """Nodes and jobs as they are now."""
        rows = self._get("/api/v0/nodes")["data"]["result"]["result"]
        nodes = tuple(_node(row) for row in rows if row["state"] == "ALIVE")
        jobs: dict[str, int] = {}
        for job in self._get("/api/jobs/"):
            jobs[job["status"]] = jobs.get(job["status"], 0) + 1
        return ClusterStatus(self.address, nodes, jobs)

    def scale(self, *, cpus: int | None = None, gpus: int | None = None) -> ClusterStatus:
        """Bring the totals to `cpus` and `gpus`; None leaves that one as it is.

        A local cluster of ours gains or loses nodes; any other asks its autoscaler, and returns at once.
        """
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if value is not None and value < 0:
                raise InvalidInput(f"{name}={value}: it must be 0 or more")
        before = self.status()
        local = LocalCluster.find(self.settings)
        if local is None or local.settings.address.rstrip("/") != self.address:
            self._ask_autoscaler(cpus, gpus)
            return before
        scale_local(local, before.cpus, before.gpus, cpus, gpus)
        deadline = time.monotonic() + SCALE_TIMEOUT_S
        while time.monotonic() < deadline:
            now = self.status()
            if cpus in {None, now.cpus} and gpus in {None, now.gpus}:
                return now
            time.sleep(0.2)
        raise Unavailable(f"the cluster did not reach cpus={cpus} gpus={gpus} within {SCALE_TIMEOUT_S:.0f} s")

    def submit(
        self,
        entrypoint: str,
        *,
        submission_id: str | None = None,
        working_dir: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Submit a job; returns its id. A `submission_id` that is known already is not run twice."""
        runtime_env: dict[str, Any] = {"env_vars": {**_forwarded(), **(env or {})}}
        if working_dir is not None:
            runtime_env["working_dir"] = str(working_dir)
        client = self._client()
        try:
            return str(client.submit_job(entrypoint=entrypoint, submission_id=submission_id, runtime_env=runtime_env))
        except RuntimeError as error:
            if submission_id is not None and "already exists" in str(error):
                return submission_id
            raise Unavailable(f"the cluster refused the job: {_first_line(error)}") from None

    def logs(self, job: str, *, follow: bool = False) -> Iterator[str]:
        """Lines of a job's output; `follow` waits for more until it ends."""
        client = self._client()
        try:
            if not follow:
                yield from str(client.get_job_logs(job)).splitlines()
                return
            yield from _follow(client, job)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                raise NotFound(f"no job {job!r} on {self.address}") from None
            raise Unavailable(f"cannot read the logs of {job}: {_first_line(error)}") from None

    def job_state(self, job: str) -> str:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. Raises NotFound."""
        return str(self._job(job)["status"])

    def wait(self, job: str) -> None:
        """Wait until a job has ended. Raises JobFailed where it did not succeed."""
        while (found := self._job(job))["status"] in {"PENDING", "RUNNING"}:
            time.sleep(0.1)
        if found["status"] != "SUCCEEDED":
            reason = _last_sentence(list(self.logs(job)))
            code = (found.get("driver_exit_code") or 1) if reason else 1  # what was killed ends with any number
            raise JobFailed(job, found["status"], reason, code)

    def cancel(self, job: str) -> None:
        """Ask a job to stop."""
        self._client().stop_job(job)

    def stop(self) -> None:
        """End a local cluster of ours. Raises NotFound where the cluster is not ours."""
        require_local(self.settings).stop()

    def _job(self, job: str) -> dict[str, Any]:
        missing = f"no job {job!r} on {self.address}"
        if not job:  # which would ask for all of them
            raise NotFound(missing)
        found: dict[str, Any] = self._get(f"/api/jobs/{quote(job, safe='')}", missing=missing)
        return found

    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        try:
            client = JobSubmissionClient(self.address)
            for chatty in CHATTY_LOGGERS:  # they set their own levels when imported
                logging.getLogger(chatty).setLevel(logging.WARNING)
            return client
        except (ConnectionError, RuntimeError):
            raise self._nobody() from None

    def _get(self, path: str, missing: str | None = None) -> Any:
        try:
            answer = httpx.get(self.address + path, timeout=20)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise self._nobody() from None
        if answer.status_code == 404 and missing:
            raise NotFound(missing)
        if answer.status_code != 200:
            raise Unavailable(f"{self.address}{path} answered {answer.status_code}")
        try:
            return answer.json()
        except ValueError:
            raise Unavailable(f"{self.address} answers, but not as a Ray dashboard does") from None

    def _nobody(self) -> Unavailable:
        return Unavailable(f"no Ray cluster answers at {self.address}: `rayloop up` starts one here")

    def _ask_autoscaler(self, cpus: int | None, gpus: int | None) -> None:
        bundles = [{"CPU": 1}] * (cpus or 0) + [{"GPU": 1}] * (gpus or 0)
        code = f"import ray, ray.autoscaler.sdk as a; ray.init(); a.request_resources(bundles={bundles})"
        self.wait(self.submit(f"python -c {json.dumps(code)}"))


def _forwarded() -> dict[str, str]:
    actor = os.environ.get("RAYLOOP_ACTOR") or os.environ.get("USER") or ""
    return {"RAYLOOP_ACTOR": actor} if actor else {}


def _node(row: Mapping[str, Any]) -> NodeStatus:
    total = row["resources_total"]
    memory = int(total.get("memory", 0))
    return NodeStatus(
        row["node_id"],
        row["node_ip"],
        row["is_head_node"],
        total.get("CPU", 0.0),
        total.get("GPU", 0.0),
        memory,
    )


def _follow(client: Any, job: str) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    stream = client.tail_job_logs(job)
    coming: asyncio.Task[str | None] | None = None
    try:
        rest = ""
        while True:
            coming = loop.create_task(_next_of(stream))
            if (more := loop.run_until_complete(coming)) is None:
                break
            *lines, rest = (rest + more).split("\n")
            yield from lines
        if rest:
            yield rest
    finally:
        if coming is not None and not coming.done():  # Ctrl-C while it waits: what still reads can't be closed
            coming.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(coming)
        loop.run_until_complete(stream.aclose())  # a reader may stop early; the connection must not stay
        loop.close()


async def _next_of(stream: AsyncIterator[str]) -> str | None:
    return await anext(stream, None)


def _last_sentence(lines: list[str]) -> str:
    """What a job of ours says before it ends in failure."""
    said = [line for line in lines if line.startswith(ERROR_SIGN)]
    return said[-1].removeprefix(ERROR_SIGN) if said else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
