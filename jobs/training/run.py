"""What the store keeps of one run by its key: what it was started with, its checkpoints, why it can't succeed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...platform.data import Snapshot, Store
from ...platform.errors import Conflict, InvalidInput, NotFound, RayloopError, Unavailable
from ...platform.model.schema import Schema
from ...platform.project import Project
from .loop import NoRoom, OutOfMemory, Plan, TrainingDiverged

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist"})
# Faults that the next try would meet again; a worker that died or a store that was away is not one.
_FINAL: tuple[type[RayloopError], ...] = (TrainingDiverged, OutOfMemory, NoRoom, InvalidInput, NotFound, Conflict)
_FREE = frozenset({"allow_smaller_batch"})  # what may change between two tries of a run


class Run:
    """The files of one run; every try of it finds them."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self.key = store, key
        self._folder = f"training/{key}"
        self.checkpoints = f"{self._folder}/checkpoints"

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Remember what the run is started with. Raises Conflict where an earlier try of it had something else."""
        known = self._read("run.json")
        if known is None:
            self._write("run.json", dict(fingerprint))
            return
        for name, value in json.loads(json.dumps(fingerprint)).items():
            if known.get(name) != value:
                raise Conflict(
                    f"run {self.key!r} was started with {name} = {_short(known.get(name))}, which is "
                    f"{_short(value)} now: start it with what it had, or under another key"
                )

    def forget_failure(self) -> None:
        """Begin a new job of the run: what stopped the last one may be mended."""
        self._store.remove(f"{self._folder}/failed.json")

    def fail(self, error: RayloopError) -> RayloopError:
        """Note a fault that every further try would meet; returns it, to be raised."""
        if isinstance(error, _FINAL):
            with suppress(Unavailable):  # the fault is worth more than that it can't be noted; the next try meets it
                self._write("failed.json", {"kind": type(error).__name__, "fields": list(error.args)})
        return error

    def failure(self) -> dict[str, Any]:
        """The fault that was noted, or nothing."""
        return self._read("failed.json") or {}

    def accumulate(self) -> int:
        """In how many parts a step is computed, as an earlier try that lacked memory found; 1 where none did."""
        return int((self._read("accumulate.json") or {"parts": 1})["parts"])

    def set_accumulate(self, parts: int) -> None:
        """Let the next try compute a step in so many parts."""
        self._write("accumulate.json", {"parts": parts})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values: dict[str, Any] = json.loads(self._store.read(f"{self._folder}/{name}"))
        except NotFound:
            return None
        return values

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        self._store.write(f"{self._folder}/{name}", json.dumps(values, indent=1).encode())


def fingerprint(project: Project, plan: Plan, schema: Schema, snapshot: Snapshot, folder: Path) -> dict[str, Any]:
    """Everything that decides the numbers of a run, by the name that a person knows it by."""
    settings = {f"train.{name}": value for name, value in asdict(plan).items() if name not in _FREE}
    settings["task.params"] = settings.pop("train.params")
    settings["validate.metric"] = settings.pop("train.metric")
    data = project.data.model_dump(mode="json", exclude={"source"})
    own = project.task.use != "tabular"
    return {
        "snapshot": snapshot.digest,
        **settings,
        "train.workers": project.train.model_dump(mode="json")["workers"],
        "train.gpu": project.train.gpu,
        "train.deterministic": project.train.deterministic,
        "task.use": project.task.use,
        "task.kind": project.task.kind,
        **{f"data.{name}": value for name, value in data.items()},
        "the columns": hashlib.sha256(json.dumps(schema.to_dict()).encode()).hexdigest(),
        **({"the task's code": code_digest(folder)} if own else {}),
    }


def code_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the Python files in a project's folder."""
    digest = hashlib.sha256()
    for path in sorted(_python_files(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def raise_failure(failure: Mapping[str, Any]) -> None:
    """Raise the fault that a worker noted, where there is one."""
    if failure:
        kinds = {kind.__name__: kind for kind in _FINAL}
        raise kinds[failure["kind"]](*failure["fields"])


def _python_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir() and path.name not in SKIPPED_FOLDERS and not (path / "pyvenv.cfg").exists():
            found += _python_files(path)
        elif path.suffix == ".py":
            found.append(path)
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
