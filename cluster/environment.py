"""The variables that every Ray process needs from its start; Ray reads most of them once, at import."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..platform.errors import Unavailable
from ..platform.settings import Settings

MAX_BODY_BYTES = 8 << 20  # the largest request body that is read
# The largest one that a proxy can send a second time. HAProxy copies a whole buffer for each request that it could
# repeat: 7 µs of its time more at 96 KiB than at 40, 830 µs at 1 MiB.
REPLAY_BODY_BYTES = 32 << 10

# On which address replicas listen for the edge; without it, the one by which their node joined the cluster.
REPLICA_HOST = "RAYLOOP_REPLICA_HOST"

REQUIRED: Mapping[str, str] = {
    # Serve's HAProxy in place of its Python proxy, and replicas that it reaches directly: ten times the requests.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A request that meets a dying replica is sent again; inference is idempotent.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_RETRIES": "5",
    "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(REPLAY_BODY_BYTES + (32 << 10)),
}

ADVISED: Mapping[str, str] = {
    "RAY_SERVE_HAPROXY_MAXCONN": "2048",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # else a Python process parses a line for each request
    # Ray gives every worker, and with it the edge and the replicas, the niceness 15: whatever else the machine does
    # would come before an answer. Training workers are made nice instead.
    "RAY_worker_niceness": "0",
    # Ray Train asks its workers for reports this often; 2 s by default, and each report waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_preload_python_modules": "rayloop.jobs.training.preload",  # does nothing but in a training's worker
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AUTH_MODE": "disabled",  # explicit: else a token in the home folder decides; the cluster binds loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",  # else lines that differ in numbers alone are folded
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # tasks that asked for no GPU see none
    "PYTHONUNBUFFERED": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def cluster_environment(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for `ray start`: the settings above, ours, and this Python first on the path.

    What the caller has set already wins over what is advised, never over what is required.
    """
    given = dict(os.environ if environ is None else environ)
    binaries = str(Path(sys.executable).parent)
    path = f"{binaries}{os.pathsep}{given.get('PATH', '')}"
    return {**ADVISED, **given, **REQUIRED, **settings.environment(), "PATH": path}


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise Unavailable, naming the first variable, where a cluster was started without what serving needs."""
    for name, value in REQUIRED.items():
        if environ.get(name) != value:
            raise Unavailable(
                f"the cluster was started with {name}={environ.get(name)!r}; serving needs {value!r} there: "
                "set it before `ray start` on every node"
            )
