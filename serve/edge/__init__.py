"""The edge: an HAProxy of ours in front of Ray Serve that picks the version of each request."""

from .config import render_config
from .counts import VersionCount, read_counts
from .edge import Edge, EdgeReport, ProcessState, Traffic
from .maps import AdminSocket, MapChange, desired_maps, read_running, reconcile
from .process import EdgeProcess, RunningEdge, find_binary
from .settings import EdgeSettings

__all__ = [
    "AdminSocket",
    "Edge",
    "EdgeProcess",
    "EdgeReport",
    "EdgeSettings",
    "MapChange",
    "ProcessState",
    "RunningEdge",
    "Traffic",
    "VersionCount",
    "desired_maps",
    "find_binary",
    "read_counts",
    "read_running",
    "reconcile",
    "render_config",
]
