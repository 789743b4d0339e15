"""Whether a snapshot's objects are still those of its manifest, byte for byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..errors import NotFound
from .snapshot import Manifest, SnapshotFile
from .store import Store

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileFault:
    """An object that is not what the manifest says; `found` is its SHA-256, None where it is gone."""

    file: SnapshotFile
    found: str | None

    def __str__(self) -> str:
        where = f"{self.file.source} ({self.file.object_name})"
        if self.found is None:
            return f"{where} is gone from the store"
        return f"{where} was changed: its SHA-256 is {self.found[:12]}, the manifest says {self.file.sha256[:12]}"


def check_objects(store: Store, manifest: Manifest) -> list[FileFault]:
    """Read every object of a manifest; one fault for each that was changed or is gone, in the manifest's order."""
    faults = []
    for file in manifest.files:
        found = _sha256(store, file.object_name)
        if found != file.sha256:
            faults.append(FileFault(file, found))
    return faults


def _sha256(store: Store, name: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.open(name) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except NotFound:
        return None
    return digest.hexdigest()
