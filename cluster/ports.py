"""Which ports of this machine are free, and who holds the others."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping

import psutil

from ..platform.errors import Conflict

# Ports that this process has given out, or was told of: whoever is to listen there may not have begun to.
_spoken_for: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, below those that the system gives to outgoing connections.

    One of those may be taken between the question and the server's start, and was. No port is given twice, nor one
    that `require_free_ports` was asked about.
    """
    while (port := 20_000 + secrets.randbelow(9_000)) in _spoken_for or not is_free(host, port):
        pass
    _spoken_for.add(port)
    return port


def is_free(host: str, port: int) -> bool:
    """True where a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free_ports(host: str, ports: Mapping[str, int]) -> None:
    """Raise Conflict for the first port that is busy or named twice; `ports` maps each setting to its number."""
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            raise Conflict(f"{taken[port]} and {name} are both {port}: set one of them to another port")
        taken[port] = name
        if not is_free(host, port):
            raise Conflict(f"port {port} ({name}) is in use{_holder(port)}: set {name} to another port")
    _spoken_for.update(taken)


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
            if listens and connection.pid is not None:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # other users' processes stay unnamed
    return ""
