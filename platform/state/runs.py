"""The record of every training run, in files of the store: what `rayloop runs` shows, also while MLflow is down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote, unquote

from ..data.store import Store
from ..errors import InvalidInput, NotFound

FOLDER = "runs"
RECORD_FILE, PROGRESS_FILE, LATE_FILE, TEXTS_FOLDER, MODEL_FOLDER = (
    "run.json",
    "progress.json",
    "undelivered.json",
    "texts",
    "model",
)
RUNNING, FINISHED, FAILED, STOPPED, UNREGISTERED = "running", "finished", "failed", "stopped", "unregistered"


def require_key(key: str) -> None:
    """Raise InvalidInput where a run can't be named so."""
    if not key or "'" in key:  # MLflow's queries have no way to write it
        raise InvalidInput(f"the run's key {key!r} must not be empty, nor hold a quote")


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it was last written down; `key` names it, and the same key goes on where it stopped."""

    key: str
    project: str
    kind: str
    state: str = RUNNING
    began_s: float = 0.0
    ended_s: float | None = None
    jobs: tuple[str, ...] = ()
    """The Ray jobs that worked on it, the latest last."""
    run_id: str = ""
    """MLflow's name of it; empty where MLflow never answered."""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 0
    version: int | None = None
    sha256: str = ""
    error: str = ""

    @property
    def has_ended(self) -> bool:
        """True where nothing works on it any more."""
        return self.state != RUNNING

    @property
    def snapshot(self) -> str:
        """Digest of the data that it was trained on."""
        return self.tags.get("rayloop.snapshot", "")

    @property
    def code(self) -> str:
        """Digest of the bundle of the project's code; empty where none was kept."""
        return self.tags.get("rayloop.code", "")

    def to_json(self) -> bytes:
        """The record as it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Run:
        """Read a stored record; keys of a later version are left out."""
        known = {entry.name for entry in fields(cls)}
        values: dict[str, Any] = {name: value for name, value in json.loads(content).items() if name in known}
        return cls(**{**values, "jobs": tuple(values.get("jobs", ()))})


class Runs:
    """Run records in a store, each in a folder of its own, beside the texts that were logged."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, key: str, project: str, kind: str, job: str = "") -> Run:
        """A new record, or the one that is there, under way again."""
        try:
            run = replace(self.get(key), state=RUNNING, ended_s=None, error="")
        except NotFound:
            run = Run(key, project, kind, began_s=time.time())
        if job and job not in run.jobs:
            run = replace(run, jobs=(*run.jobs, job))
        self.save(run)
        return run

    def save(self, run: Run) -> None:
        """Write a record."""
        self._store.write(self._name(run.key, RECORD_FILE), run.to_json())

    def change(self, key: str, **changes: Any) -> Run:
        """Write some fields of a record anew. Raises NotFound."""
        run = replace(self._record(key), **changes)
        self.save(run)
        return run

    def get(self, key: str) -> Run:
        """One run with its latest progress. Raises NotFound."""
        run = self._record(key)
        if run.has_ended or not self._store.exists(self._name(key, PROGRESS_FILE)):
            return run
        progress = json.loads(self._store.read(self._name(key, PROGRESS_FILE)))
        return replace(run, **progress)

    def find(self, beginning: str) -> Run:
        """The run of which this is the key, the beginning of the key, or the name of a job that worked on it.

        Raises NotFound where there is none, InvalidInput where there are several.
        """
        keys = self.keys()
        if beginning in keys:
            return self.get(beginning)
        found = [key for key in keys if key.startswith(beginning)] if beginning else []
        found = found or [run.key for run in self.all() if beginning in run.jobs]
        if not found:
            raise NotFound(f"no run {beginning!r} is known here: `rayloop runs` lists them")
        if len(found) > 1:
            shown = ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
            raise InvalidInput(f"{beginning!r} is the beginning of {len(found)} runs: {shown}")
        return self.get(found[0])

    def of_mlflow(self, run_id: str) -> Run:
        """The run by MLflow's name. Raises NotFound."""
        for run in self.all():
            if run.run_id == run_id:
                return run
        raise NotFound(f"no record is kept of MLflow's run {run_id!r}")

    def keys(self) -> list[str]:
        """The keys of all runs, in order."""
        return sorted(unquote(info.base_name) for info in self._store.entries(FOLDER))

    def all(self) -> list[Run]:
        """All runs, oldest first."""
        found = [self.get(key) for key in self.keys() if self._store.exists(self._name(key, RECORD_FILE))]
        return sorted(found, key=lambda run: (run.began_s, run.key))

    def progress(self, key: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """How far a run is: a file of its own, since another process writes the record."""
        content = {"epoch": epoch, "epochs": epochs, "metrics": dict(metrics)}
        self._store.write(self._name(key, PROGRESS_FILE), json.dumps(content).encode())

    def write_text(self, key: str, name: str, text: str) -> None:
        """A file beside the record."""
        self._store.write(self._name(key, f"{TEXTS_FOLDER}/{name}"), text.encode("utf-8", "surrogateescape"))

    def text(self, key: str, name: str) -> str:
        """A file beside the record. Raises NotFound."""
        return self._store.read(self._name(key, f"{TEXTS_FOLDER}/{name}")).decode("utf-8", "surrogateescape")

    def keep_undelivered(self, key: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """What MLflow was not told yet; none removes the file."""
        name = self._name(key, LATE_FILE)
        if messages:
            self._store.write(name, json.dumps(list(messages)).encode())
        elif self._store.exists(name):
            self._store.filesystem.delete_file(self._store.path(name))

    def undelivered(self, key: str) -> list[dict[str, Any]]:
        """What MLflow was not told yet."""
        name = self._name(key, LATE_FILE)
        if not self._store.exists(name):
            return []
        messages: list[dict[str, Any]] = json.loads(self._store.read(name))
        return messages

    def model_folder(self, key: str) -> str:
        """Where a model lies in the store while MLflow can't take it."""
        return self._name(key, MODEL_FOLDER)

    def _record(self, key: str) -> Run:
        try:
            return Run.from_json(self._store.read(self._name(key, RECORD_FILE)))
        except NotFound:
            raise NotFound(f"no run {key!r} is known here: `rayloop runs` lists them") from None

    @staticmethod
    def _name(key: str, file: str) -> str:
        return f"{FOLDER}/{quote(key, safe='')}/{file}"
