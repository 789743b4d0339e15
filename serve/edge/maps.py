"""Owns the edge's maps, on disk and in the running HAProxy; decides no split and starts no process."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...platform.errors import InvalidInput, Unavailable
from ...platform.traffic import Split, app_name, check_endpoint
from .files import write_durably

Entries = Mapping[str, str]


def desired_maps(
    splits: Sequence[Split], versions: Mapping[str, Sequence[int]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Give the entries of the split map and of the versions map.

    Raises InvalidInput if two splits are for one endpoint, or a name or a version is not fit for an app.
    """
    split_entries: dict[str, str] = {}
    for split in splits:
        if split.endpoint in split_entries:
            raise InvalidInput(f"endpoint {split.endpoint!r} has two splits, and may have one")
        split_entries[split.endpoint] = split.map_value()
    version_entries = {
        f"{endpoint}/{version}": app_name(endpoint, version)
        for endpoint, numbers in versions.items()
        for version in numbers
    }
    return split_entries, version_entries


def desired_aliases(aliases: Mapping[str, str], endpoints: Collection[str]) -> dict[str, str]:
    """Give the entries of the alias map; a name that is an endpoint's own is never another's alias.

    Raises InvalidInput if a name is not fit for an endpoint.
    """
    return {
        check_endpoint(alias): check_endpoint(endpoint) for alias, endpoint in aliases.items() if alias not in endpoints
    }


def render_map(entries: Entries) -> str:
    """Write a map file, one `key value` a line, in the order of keys."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def write_map(path: Path, entries: Entries) -> bool:
    """Write a map file unless it says the same already; return whether it was written."""
    text = render_map(entries)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_durably(path, text)
    return True


@dataclass(frozen=True, slots=True)
class MapChange:
    """One change of one entry in a running map."""

    verb: Literal["set", "add", "del"]
    key: str
    value: str = ""

    def command(self, path: Path) -> str:
        """Write the change in the language of HAProxy's admin socket."""
        return f"{self.verb} map {_escaped(path)} {self.key} {self.value}".rstrip()


def reconcile(desired: Entries, running: Entries) -> list[MapChange]:
    """List the changes that turn the running entries into the desired ones; none if they agree."""
    changes = [MapChange("del", key) for key in sorted(running.keys() - desired.keys())]
    for key, value in sorted(desired.items()):
        if key not in running:
            changes.append(MapChange("add", key, value))
        elif running[key] != value:
            changes.append(MapChange("set", key, value))
    return changes


@dataclass(frozen=True, slots=True)
class AdminSocket:
    """A client of HAProxy's admin socket; each command has its own connection."""

    path: Path
    timeout_s: float = 2.0

    def ask(self, command: str) -> str:
        """Send one command and return the answer; raises Unavailable if there is none."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout_s)
                connection.connect(str(self.path))
                connection.sendall(f"{command}\n".encode())
                chunks = []
                while chunk := connection.recv(65_536):
                    chunks.append(chunk)
        except OSError as error:
            raise Unavailable(f"the edge does not answer on its admin socket {self.path}: {error}") from error
        return b"".join(chunks).decode()

    def tell(self, command: str) -> None:
        """Send one command that has no answer; raises Unavailable with HAProxy's words if it has one."""
        if answer := self.ask(command).strip():
            raise Unavailable(f"the edge refused {command!r}: {answer}")

    def pid(self) -> int:
        """Ask for the id of the process that answers."""
        match = re.search(r"^Pid: ([0-9]+)$", self.ask("show info"), re.MULTILINE)
        if match is None:
            raise Unavailable(f"what answers on {self.path} is no HAProxy")
        return int(match[1])


def read_running(admin: AdminSocket, path: Path) -> dict[str, str]:
    """Read the entries of a running map, named by its file."""
    running: dict[str, str] = {}
    for line in admin.ask(f"show map {_escaped(path)}").splitlines():
        if not line.strip():
            continue
        fields = line.split(" ", 2)
        if not fields[0].startswith("0x") or len(fields) < 3:
            raise Unavailable(f"the edge does not show its map {path}: {line.strip()}")
        # A look-up takes the first of equal keys.
        running.setdefault(fields[1], fields[2])
    return running


def _escaped(path: Path) -> str:
    return str(path).replace(" ", "\\ ")
