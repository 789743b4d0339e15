"""Where rayloop keeps its state and which addresses it uses; the order is argument, environment, file, default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InvalidInput

CLUSTER_FILE = "cluster.json"  # what `rayloop up` chose; lies in the home folder while that cluster lives


class Settings(BaseModel):
    """Addresses and folders, all absolute; every part can be moved out of `home` by a URL of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """Folder of one machine's state: RAYLOOP_HOME, default `.rayloop` under the working folder."""
    database_url: str
    """RAYLOOP_DATABASE_URL, an SQLAlchemy URL; default SQLite in `home`."""
    store: str
    """RAYLOOP_STORE, a local folder or `s3://` URI for snapshots, artifacts and captures."""
    tracking_uri: str
    """MLFLOW_TRACKING_URI; default the MLflow server of `rayloop up`, else SQLite in `home`."""
    address: str = "http://127.0.0.1:8265"
    """RAYLOOP_ADDRESS, the Ray dashboard, through which jobs are submitted."""
    edge_host: str = "127.0.0.1"
    """RAYLOOP_EDGE_HOST, the interface on which the edge listens."""
    edge_port: int = Field(default=8080, ge=1, le=65535)
    """RAYLOOP_EDGE_PORT, where predictions are asked for."""
    edge_certificate: str = ""
    """RAYLOOP_EDGE_CERTIFICATE, a PEM file with certificate and key on each edge's node: the edge speaks TLS."""
    edge_requests_per_s: int = Field(default=0, ge=0, le=1_000_000)
    """RAYLOOP_EDGE_REQUESTS_PER_S, how many requests of one token are let in a second; 0 for no limit."""
    edge_connections: int = Field(default=2048, ge=1, le=1_000_000)
    """RAYLOOP_EDGE_CONNECTIONS, how many connections the edge holds at once; further ones wait."""
    edge_metrics_port: int = Field(default=0, ge=0, le=65535)
    """RAYLOOP_EDGE_METRICS_PORT, where Prometheus asks the edge on loopback; 0 for nowhere."""
    edge_grpc_port: int = Field(default=0, ge=0, le=65535)
    """RAYLOOP_EDGE_GRPC_PORT, where the edge speaks gRPC, on its own interface; 0 for nowhere."""
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    """RAYLOOP_MLFLOW_PORT, the MLflow pages of a local cluster."""
    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    """RAYLOOP_DASHBOARD_PORT, the Ray dashboard of a local cluster."""
    serve_port: int = Field(default=8000, ge=1, le=65535)
    """RAYLOOP_SERVE_PORT, Ray Serve's own proxy, behind the edge."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """Read the settings; `arguments` that are None count as not given.

        Raises InvalidInput that names the variable, its value and the rule.
        """
        environ = os.environ if environ is None else environ
        home = Path(arguments.pop("home", None) or environ.get("RAYLOOP_HOME") or ".rayloop").absolute()
        chosen: dict[str, Any] = {
            "database_url": f"sqlite:///{home / 'rayloop.db'}",
            "store": str(home / "store"),
            "tracking_uri": f"sqlite:///{home / 'mlflow.db'}",
        }
        chosen |= _cluster_file(home)
        chosen |= {name: environ[key] for name, key in ENVIRONMENT.items() if environ.get(key)}
        given = {name: value for name, value in arguments.items() if value is not None}
        chosen |= given
        if "dashboard_port" in chosen:
            chosen.setdefault("address", f"http://127.0.0.1:{chosen['dashboard_port']}")
        if "://" not in str(chosen["store"]):
            chosen["store"] = str(Path(chosen["store"]).absolute())
        try:
            return cls(home=home, **chosen)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            key = ENVIRONMENT.get(name, name)
            raise InvalidInput(f"{key}={first['input']}: {first['msg'].lower()}") from None

    def environment(self) -> dict[str, str]:
        """The variables that make another process load these same settings."""
        values = {name: str(getattr(self, name)) for name in ENVIRONMENT}
        return {"RAYLOOP_HOME": str(self.home)} | {ENVIRONMENT[name]: value for name, value in values.items()}

    @property
    def edge_url(self) -> str:
        """Where clients on this machine ask for predictions."""
        host = "127.0.0.1" if self.edge_host in {"0.0.0.0", "::", "*"} else self.edge_host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.edge_certificate else 'http'}://{host}:{self.edge_port}"


ENVIRONMENT: Mapping[str, str] = {
    name: ("MLFLOW_TRACKING_URI" if name == "tracking_uri" else f"RAYLOOP_{name.upper()}")
    for name in Settings.model_fields
    if name != "home"
}


def _cluster_file(home: Path) -> dict[str, Any]:
    """What the running local cluster chose, or nothing where none runs."""
    path = home / CLUSTER_FILE
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())["settings"]
        return {name: value for name, value in known.items() if name in ENVIRONMENT}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(f"{path} is damaged: remove it, or run `rayloop down` and `rayloop up`") from None
