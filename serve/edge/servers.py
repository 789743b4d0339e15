"""Owns which replicas stand behind the edge's backends, in the running HAProxy; it knows no replica by itself.

HAProxy can take servers up while it runs, and no backends. So the configuration has empty ones, the slots; a map
says which slot is a version's, and a version without one is asked through Ray Serve's proxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...platform.errors import Unavailable
from .maps import AdminSocket

SLOT = "slot"
GRPC_SLOT = "gslot"  # beside each slot one for the gRPC of the same replicas
FALLBACK = "serve"  # the server of each slot that is Ray Serve's own proxy
# A replica that refuses one connection is left alone until it is found listening again.
CHECKS = (
    "check inter 500ms fastinter 100ms downinter 100ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down"
)
_IN_MAINTENANCE = 0x3F  # any bit of srv_admin_state says that somebody has taken it out
_SERVER = re.compile(rf"^\d+ (g?{SLOT}\d+) \d+ (\S+) \S+ \d+ (\d+) ", re.MULTILINE)

Servers = dict[str, dict[str, bool]]


@dataclass(frozen=True, slots=True)
class ServerChange:
    """One server of one slot, taken up or out."""

    verb: str
    slot: str
    address: str


def assign_slots(apps: Sequence[str], before: Mapping[str, str], slots: int, running: Servers) -> dict[str, str]:
    """Give each app a slot: the one that it had, else the first free one; none where there are too few.

    A slot that still has servers of an app that is gone is not free yet.

    >>> assign_slots(["b", "c"], {"a": "slot0", "b": "slot1"}, 4, {})
    {'b': 'slot1', 'c': 'slot0'}
    >>> assign_slots(["b", "c"], {"a": "slot0", "b": "slot1"}, 4, {"slot0": {"127.0.0.1:9000": True}})
    {'b': 'slot1', 'c': 'slot2'}
    """
    kept = {app: before[app] for app in apps if before.get(app) in {f"{SLOT}{place}" for place in range(slots)}}
    taken = {*kept.values(), *(slot.removeprefix("g") for slot, servers in running.items() if servers)}
    free = iter([slot for place in range(slots) if (slot := f"{SLOT}{place}") not in taken])
    chosen = {app: kept.get(app) or next(free, None) for app in apps}
    return {app: slot for app, slot in chosen.items() if slot is not None}


def read_servers(admin: AdminSocket) -> Servers:
    """Ask for the servers of each slot; the value says whether one is in service."""
    servers: Servers = {}
    for slot, name, admin_state in _SERVER.findall(admin.ask("show servers state")):
        if name != FALLBACK:
            servers.setdefault(slot, {})[name] = not int(admin_state) & _IN_MAINTENANCE
    return servers


def apply_servers(admin: AdminSocket, wanted: Mapping[str, Sequence[str]], running: Servers) -> list[ServerChange]:
    """Take up the servers (addresses by slot) that are missing, and out those that are not wanted.

    One that still has requests is only taken out of service, and deleted by a later call.
    """
    changes: list[ServerChange] = []
    for slot in sorted({*wanted, *running}):
        has, wants = running.get(slot, {}), set(wanted.get(slot, ()))
        for address in sorted(has.keys() - wants):
            if has[address]:
                admin.ask(f"disable server {slot}/{address}")
                changes.append(ServerChange("out", slot, address))
            admin.ask(f"del server {slot}/{address}")  # refused while it has requests
        for address in sorted(wants):
            if address not in has:
                _register(admin, slot, address)
                changes.append(ServerChange("up", slot, address))
            elif not has[address]:
                admin.ask(f"enable server {slot}/{address}")
                changes.append(ServerChange("up", slot, address))
    return changes


def _register(admin: AdminSocket, slot: str, address: str) -> None:
    protocol = " proto h2" if slot.startswith(GRPC_SLOT) else ""
    answer = admin.ask(f"add server {slot}/{address} {address}{protocol} {CHECKS}").strip()
    if "New server registered" not in answer:
        raise Unavailable(f"the edge took no server {slot}/{address} up: {answer}")
    admin.ask(f"enable health {slot}/{address}")
    admin.ask(f"enable server {slot}/{address}")
