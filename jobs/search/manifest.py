"""What a search leaves in the store, so that it goes on after a kill: one file for itself and one for each trial.

Ray Tune keeps a snapshot of its own, which is not used: it is at least 10 s old, so trials that ended since would
run again, and it is read by unpickling. These are JSON files, each written as a whole after every epoch.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyarrow import fs

from ...platform.data import Snapshot, Store
from ...platform.errors import Conflict
from ...platform.project import Project
from .objectives import objectives_of
from .trial import Trial

FOLDER = "tune"
RAY_FOLDER = "ray"  # Ray Tune's own files of a search, with the checkpoints; removed when it is over


class Manifest:
    """One search's files."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self.key = store, key

    def begin(self, terms: Mapping[str, Any]) -> bool:
        """Write down on what terms the search is run; True where it was begun before, on the same ones.

        Raises Conflict where the terms were others.
        """
        name = self._name("search.json")
        if not self._store.exists(name):
            written = {"fingerprint": fingerprint(terms), "began_s": time.time(), "terms": terms}
            self._store.write(name, json.dumps(written, indent=1).encode())
            return False
        known = json.loads(self._store.read(name))
        if known["fingerprint"] != fingerprint(terms):
            path, was, now = next(_differences(known["terms"], json.loads(json.dumps(terms))))
            raise Conflict(
                f"search {self.key!r} was begun with {path} = {was!r}, and it is {now!r} now: take another key, or the "
                "settings that it was begun with"
            )
        return True

    def trials(self) -> list[Trial]:
        """Every trial that was begun, by number."""
        found = self._store.entries(self._name("trials"))
        names = sorted(info.base_name for info in found if info.base_name.endswith(".json"))
        return [Trial.from_dict(json.loads(self._store.read(self._name(f"trials/{name}")))) for name in names]

    def save(self, trial: Trial) -> None:
        """Write a trial as it is now."""
        self._store.write(self._name(f"trials/{trial.number:05}.json"), json.dumps(trial.to_dict()).encode())

    def has(self, checkpoint: str) -> bool:
        """True where a checkpoint is still there."""
        return bool(checkpoint) and self._store.filesystem.get_file_info(checkpoint).type == fs.FileType.Directory

    def result(self) -> dict[str, Any] | None:
        """What the search gave; None while it is not over."""
        name = self._name("result.json")
        if not self._store.exists(name):
            return None
        found: dict[str, Any] = json.loads(self._store.read(name))
        return found

    def end(self, result: Mapping[str, Any]) -> None:
        """Write down what it gave, and remove the checkpoints: the best weights are a logged model by now."""
        self._store.write(self._name("result.json"), json.dumps(result).encode())
        ray_folder = self._name(RAY_FOLDER)
        if self._store.exists(ray_folder):
            self._store.filesystem.delete_dir(self._store.path(ray_folder))

    def terms(self) -> dict[str, Any]:
        """On what terms it was begun."""
        found: dict[str, Any] = self._search()["terms"]
        return found

    def began_s(self) -> float:
        """When it was begun, in seconds since 1970."""
        return float(self._search()["began_s"])

    @property
    def folder(self) -> str:
        """Where Ray Tune finds it."""
        return self._store.uri(f"{FOLDER}/{self.key}")

    def _search(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._store.read(self._name("search.json")))
        return found

    def _name(self, name: str) -> str:
        return f"{FOLDER}/{self.key}/{name}"


def terms_of(project: Project, snapshot: Snapshot, code: Path) -> dict[str, Any]:
    """All that a trial's numbers depend on; how many run at a time is not of it."""
    found = project.model_dump(mode="json", by_alias=True, include={"name", "data", "task", "train", "search"})
    del found["data"]["source"], found["search"]["concurrent"], found["train"]["max_failures"]
    found["snapshot"] = snapshot.digest
    found["objectives"] = [objective.name for objective in objectives_of(project)]
    if project.task.use != "tabular":
        found["code"] = _code_digest(code)
    return found


def fingerprint(terms: Mapping[str, Any]) -> str:
    """SHA-256 of the terms."""
    return hashlib.sha256(json.dumps(terms, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def searches(store: Store) -> list[Manifest]:
    """Every search in the store, the oldest first."""
    keys = [info.base_name for info in store.entries(FOLDER) if info.type == fs.FileType.Directory]
    manifests = [Manifest(store, key) for key in keys if store.exists(f"{FOLDER}/{key}/search.json")]
    return sorted(manifests, key=lambda manifest: (manifest.began_s(), manifest.key))


def _code_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    hashed = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return fingerprint(hashed)


def _differences(was: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from _differences(was.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif was != now:
        yield path, was, now
