"""Owns one edge as a whole: keeps its process alive and its maps as desired; decides no split itself."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ...platform.errors import Unavailable
from ...platform.traffic import OPEN, Access, Split, Sticky
from .catalogue import catalogue
from .files import make_folder
from .maps import AdminSocket, MapChange, desired_aliases, desired_maps, read_running, reconcile, write_map
from .process import EdgeProcess
from .servers import ServerChange, Servers, apply_servers, assign_slots, read_servers
from .settings import EdgeSettings

ProcessState = Literal["adopted", "started", "reloaded", "running"]
Maps = dict[Path, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an edge should serve, and to whom: one split an endpoint, and the versions that a client may pin."""

    splits: tuple[Split, ...] = ()
    versions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    access: Access = OPEN
    sticky: Mapping[str, Sticky] = field(default_factory=dict)
    """What keeps a client on a version, for endpoints that do not do it by the session header."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The endpoint that each further name means."""
    replicas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Where the replicas of each app listen, as `host:port`."""
    grpc_replicas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Where those of them that answer gRPC do so."""


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What one step found and did."""

    process: ProcessState
    pid: int
    changes: tuple[MapChange, ...]
    servers: tuple[ServerChange, ...] = ()

    @property
    def has_changed(self) -> bool:
        """Whether the step started or reloaded the process, or changed a running map or a server."""
        return self.process in ("started", "reloaded") or bool(self.changes) or bool(self.servers)


class Edge:
    """The edge of one node: `step` it every second; any number of objects may do so for one folder."""

    def __init__(self, settings: EdgeSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._process = EdgeProcess(settings, folder)
        self._admin = AdminSocket(settings.admin_socket)
        self._known_pid: int | None = None

    def ensure_running(self) -> ProcessState:
        """Adopt the living edge, start it with the maps on disk, or reload it if its settings changed.

        Raises Conflict, with nothing written, if the port is taken; Unavailable if HAProxy does not start.
        """
        return self._ensure({})

    def apply(self, splits: Sequence[Split], versions: Mapping[str, Sequence[int]]) -> tuple[MapChange, ...]:
        """Write the maps of an open edge, then push what differs to it; return what was pushed."""
        maps = self._maps(Traffic(tuple(splits), versions))
        self._write(maps)
        return self._push(maps)

    def step(self, desired: Traffic) -> EdgeReport:
        """Bring the process and its maps to the desired state; does nothing if they are there."""
        self._spell_out(desired)
        maps = self._maps(desired)
        process = self._ensure(maps)
        self._write(maps)
        changes = self._push(maps)
        servers = self._serve(desired, maps[self._settings.slots_map])
        assert self._known_pid is not None
        return EdgeReport(process, self._known_pid, changes, servers)

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Let the edge finish its requests, then kill it; return whether there was one."""
        self._known_pid = None
        return self._process.stop(timeout_s)

    def _spell_out(self, desired: Traffic) -> None:
        """Take new headers and cookies, and room for versions, into the settings; that makes the next step a reload."""
        slots = self._settings.slots
        while slots and slots < len(desired.replicas):
            slots *= 2
        settings = replace(self._settings, sticky=tuple(sorted(set(desired.sticky.values()))), slots=slots)
        if settings != self._settings:
            self._settings, self._process = settings, EdgeProcess(settings, self._folder)

    def _ensure(self, maps: Maps) -> ProcessState:
        running = self._process.find_running()
        if running is None or running.config_digest != self._process.config_digest:
            return self._start(maps)
        state: ProcessState = "running" if running.pid == self._known_pid else "adopted"
        self._known_pid = running.pid
        return state

    def _start(self, maps: Maps) -> ProcessState:
        self._process.check_port(self._process.find_running())
        make_folder(self._folder)
        with self._alone():
            before = self._process.find_running()
            if before is not None and before.config_digest == self._process.config_digest:
                self._known_pid = before.pid
                return "adopted"
            self._write(self._missing_maps() | maps)
            self._known_pid = self._process.start().pid
        return "started" if before is None else "reloaded"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second starter of the same edge waiting."""
        with (self._folder / "edge.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _maps(self, desired: Traffic) -> Maps:
        splits, versions = desired_maps(desired.splits, desired.versions)
        return {
            self._settings.tokens_map: desired.access.map_entries(),
            # A version can be pinned before a split may send traffic to it.
            self._settings.versions_map: versions,
            self._settings.sticky_map: {name: sticky.map_value() for name, sticky in desired.sticky.items()},
            self._settings.split_map: splits,
            self._settings.alias_map: desired_aliases(desired.aliases, {*splits, *desired.versions}),
            self._settings.catalogue_map: catalogue(desired.splits, desired.versions, desired.aliases),
            self._settings.slots_map: assign_slots(
                sorted(desired.replicas), self._slots(), self._settings.slots, self._servers()
            ),
        }

    def _slots(self) -> dict[str, str]:
        """The slots as they were given last: a version keeps its own, whoever steps the edge."""
        path = self._settings.slots_map
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return dict(line.split(" ", 1) for line in lines)

    def _servers(self) -> Servers:
        """The servers of a running edge; none where it does not answer, since a new one begins without."""
        try:
            return read_servers(self._admin)
        except Unavailable:
            return {}

    def _serve(self, desired: Traffic, slots: Mapping[str, str]) -> tuple[ServerChange, ...]:
        wanted = {slot: desired.replicas[app] for app, slot in slots.items()}
        if self._settings.grpc_port:
            wanted |= {f"g{slot}": desired.grpc_replicas.get(app, ()) for app, slot in slots.items()}
        return tuple(apply_servers(self._admin, wanted, read_servers(self._admin)))

    def _missing_maps(self) -> Maps:
        """Empty maps for those that are not there; an empty tokens map lets nobody in."""
        return {path: {} for path in self._settings.maps if not path.exists()}

    def _write(self, maps: Maps) -> None:
        make_folder(self._settings.map_folder)
        for path, entries in maps.items():
            write_map(path, entries)

    def _push(self, maps: Maps) -> tuple[MapChange, ...]:
        pushed = []
        for path, entries in maps.items():
            for change in reconcile(entries, read_running(self._admin, path)):
                self._admin.tell(change.command(path))
                pushed.append(change)
        return tuple(pushed)
