"""Brings the local services up and down as one: Ray, MLflow's pages, Serve, the edge, the steward."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from ssl import SSLContext

import httpx

from ..cluster import Cluster, LocalCluster
from ..platform.errors import Conflict, InvalidInput, NotFound, Unavailable
from ..platform.settings import Settings
from ..platform.state import database_exists
from ..platform.workspace import Workspace
from ..serve.keeper import edge_folder
from ..serve.secret import edge_secret
from ..serve.trust import edge_trust, require_certificate

READY_TIMEOUT_S = 90.0

Say = Callable[[str], None]


def up(
    settings: Settings,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    insecure: bool = False,
    say: Say = lambda _: None,
) -> None:
    """Start everything on this machine and wait until it answers.

    Raises Conflict where a cluster runs already or a port is busy, InvalidInput where strangers could ask an edge
    without tokens. Whatever was started is ended again where one part does not come up.
    """
    require_guarded_edge(settings, insecure=insecure)
    require_certificate(settings)
    serving = settings.model_copy(update={"tracking_uri": _tracking_uri(settings)})
    ports = {
        "RAYLOOP_EDGE_PORT": settings.edge_port,
        "RAYLOOP_MLFLOW_PORT": settings.mlflow_port,
        "RAYLOOP_SERVE_PORT": settings.serve_port,
        **({"RAYLOOP_EDGE_METRICS_PORT": settings.edge_metrics_port} if settings.edge_metrics_port else {}),
        **({"RAYLOOP_EDGE_GRPC_PORT": settings.edge_grpc_port} if settings.edge_grpc_port else {}),
    }
    cluster = LocalCluster.start(serving, cpus=cpus, gpus=gpus, ports=ports, say=say)
    try:
        workspace = Workspace(serving)
        workspace.database  # noqa: B018  made here, so that no two processes make it at once
        edge_secret(workspace.store)
        cluster.spawn_service("mlflow", _mlflow_command(serving))
        say("starting the edge and the steward")
        _attach(serving)
        say("waiting for MLflow")
        _wait_for_mlflow(cluster, serving)
        _wait_for_edge(serving)
    except BaseException:
        _stop(cluster)
        raise


def attach(settings: Settings, *, insecure: bool = False) -> None:
    """Start the edge's keeper and the steward on the cluster at `settings.address`.

    Raises InvalidInput, with nothing started, where strangers could ask an edge without tokens.
    """
    require_guarded_edge(settings, insecure=insecure)
    _attach(settings)


def require_guarded_edge(settings: Settings, *, insecure: bool) -> None:
    """Raise InvalidInput where the edge would listen on more than loopback and no token was ever made.

    Tokens that are all revoked are a guard too: they let nobody in.
    """
    if insecure or _is_loopback(settings.edge_host) or not _is_open(settings):
        return
    raise InvalidInput(
        f"the edge would answer anybody on {settings.edge_host}: "
        "run `rayloop token create NAME` first, or give --insecure"
    )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches it; of names, only localhost is taken to mean that."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_open(settings: Settings) -> bool:
    """Whether no token was ever made; a database that is not there is not made for the question."""
    if not database_exists(settings.database_url):
        return True
    workspace = Workspace(settings)
    try:
        return workspace.tokens.access().is_open
    finally:
        workspace.close()


def _attach(settings: Settings) -> None:
    cluster = Cluster.connect(settings=settings)
    cluster.wait(cluster.submit("python -m rayloop.jobs.attach"))


def is_up(settings: Settings) -> bool:
    """True while this home folder's cluster is there, whole or in part."""
    return LocalCluster.find(settings) is not None


def require_nothing_running(settings: Settings) -> None:
    """Raise Conflict where a cluster of this home folder runs already."""
    cluster = LocalCluster.find(settings)
    if cluster is not None and cluster.is_alive:
        raise Conflict(f"a cluster is running already for {settings.home}: end it with `rayloop down` first")


def end_dead(settings: Settings) -> None:
    """End what is left of a cluster whose head is gone: its addresses would be taken for those of the next one."""
    cluster = LocalCluster.find(settings)
    if cluster is not None and not cluster.is_alive:
        _stop(cluster)


def down(settings: Settings) -> None:
    """End everything that `up` started; data stays. Raises NotFound where nothing runs."""
    cluster = LocalCluster.find(settings)
    if cluster is None:
        raise NotFound(f"no local cluster is running for {settings.home}")
    _stop(cluster)


def _stop(cluster: LocalCluster) -> None:
    cluster.stop()
    shutil.rmtree(edge_folder(cluster.settings), ignore_errors=True)


def _tracking_uri(settings: Settings) -> str:
    """The MLflow server that `up` starts, unless another one was asked for."""
    own = f"sqlite:///{settings.home / 'mlflow.db'}"
    return f"http://127.0.0.1:{settings.mlflow_port}" if settings.tracking_uri == own else settings.tracking_uri


def _mlflow_command(settings: Settings) -> list[str]:
    artifacts = f"{settings.store.rstrip('/')}/mlflow"
    return [
        *(
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(settings.mlflow_port),
        ),
        *("--backend-store-uri", f"sqlite:///{settings.home / 'mlflow.db'}", "--workers", "1"),
        *("--default-artifact-root", artifacts, "--no-serve-artifacts"),
    ]


def _wait_for_mlflow(cluster: LocalCluster, settings: Settings) -> None:
    url = f"http://127.0.0.1:{settings.mlflow_port}/health"
    _wait(url, lambda: cluster.service_is_alive("mlflow"), f"see {settings.home / 'logs' / 'mlflow.log'}")


def _wait_for_edge(settings: Settings) -> None:
    url = f"{settings.edge_url}/v2/health/live"
    _wait(url, lambda: True, "`rayloop status` says more", edge_trust(settings))


def _wait(url: str, is_alive: Callable[[], bool], hint: str, trust: SSLContext | bool = True) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and is_alive():
        try:
            if httpx.get(url, timeout=2, verify=trust).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not up yet
        time.sleep(0.1)
    raise Unavailable(f"{url} does not answer: {hint}")
