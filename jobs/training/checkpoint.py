"""Checkpoints in the store: whole or not at all, verified by hash; it knows no module and no cluster."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

from pyarrow import fs

from ...platform.data import Store
from ...platform.errors import NotFound, RayloopError, Unavailable

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a checkpoint."""

    name: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """What a file with this content is."""
        return cls(name, hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is complete, as its manifest says; `about` is what its writer said of it."""

    name: str
    files: tuple[File, ...]
    about: Mapping[str, Any]


class Damaged(RayloopError):
    """A checkpoint is not what its manifest says."""

    exit_code = 1


class Checkpoints:
    """The checkpoints of one run, in a folder of the store; names sort by age."""

    def __init__(self, store: Store, folder: str, keep: int = 2) -> None:
        self._store, self._folder, self._keep = store, folder, keep

    def write(self, name: str, files: Mapping[str, bytes], about: Mapping[str, Any]) -> Checkpoint:
        """Write a whole checkpoint, then remove the oldest beyond those to keep. Raises Unavailable."""
        self.begin(name)
        return self.end(name, [self.add(name, file, content) for file, content in files.items()], about)

    def begin(self, name: str) -> None:
        """Make a name free: what an earlier try left there is no checkpoint any more."""
        self._remove(name)

    def add(self, name: str, file: str, content: bytes) -> File:
        """Write one file; the checkpoint is none before its end."""
        self._store.write(f"{self._folder}/{name}/{file}", content)
        return File.of(file, content)

    def end(self, name: str, files: list[File], about: Mapping[str, Any]) -> Checkpoint:
        """Write the manifest, which makes the files a checkpoint, and remove the oldest beyond those to keep."""
        checkpoint = Checkpoint(name, tuple(files), dict(about))
        self._store.write(f"{self._folder}/{name}/{MANIFEST}", _to_json(checkpoint))
        for old in self.names()[: -self._keep]:
            self._remove(old)
        return checkpoint

    def names(self) -> list[str]:
        """All names, the oldest first, whether complete or not."""
        found = self._store.entries(self._folder)
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def read(self, checkpoint: Checkpoint, file: str) -> bytes:
        """One file. Raises Damaged where it is not as the manifest says."""
        where = f"{self._folder}/{checkpoint.name}/{file}"
        wanted = next(known for known in checkpoint.files if known.name == file)
        try:
            content = self._store.read(where)
        except NotFound:
            raise Damaged(f"{where} is gone") from None
        if File.of(file, content) != wanted:
            raise Damaged(f"{where} has {len(content)} bytes that are not those of its manifest")
        return content

    def latest(self, say: Callable[[str], None] = lambda _: None) -> tuple[Checkpoint, dict[str, bytes]] | None:
        """The newest checkpoint that is whole, with its files; says which newer ones are not."""
        for name in reversed(self.names()):
            try:
                checkpoint = _from_json(self._store.read(f"{self._folder}/{name}/{MANIFEST}"), name)
                return checkpoint, {file.name: self.read(checkpoint, file.name) for file in checkpoint.files}
            except NotFound:
                say(f"checkpoint {name} was not finished; the one before it counts")
            except Damaged as fault:
                say(f"checkpoint {name} is damaged ({fault}); the one before it counts")
        return None

    def _remove(self, name: str) -> None:
        """The manifest first: what is half removed is no checkpoint."""
        where = f"{self._folder}/{name}"
        try:
            self._store.remove(f"{where}/{MANIFEST}")
            if self._store.exists(where):
                self._store.filesystem.delete_dir(self._store.path(where))
        except FileNotFoundError:
            pass  # another process removed it at the same time
        except OSError as error:
            raise Unavailable(f"cannot remove {self._store.shown(where)}: {error}") from None


class Background:
    """One piece of work at a time, on a thread beside the training; its error comes out at the next turn."""

    def __init__(self) -> None:
        self._running: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """True while the last work is under way."""
        return self._running is not None and not self._running.done()

    def start(self, work: Callable[[], None]) -> None:
        """Wait for the last work, raise its error, start this one."""
        self.wait()
        future: Future[None] = Future()
        self._running = future
        threading.Thread(target=_run, args=(work, future), daemon=True).start()

    def wait(self) -> None:
        """Return when the last work is done; raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def _run(work: Callable[[], None], future: Future[None]) -> None:
    try:
        work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(None)


def _to_json(checkpoint: Checkpoint) -> bytes:
    content = {"format": FORMAT, "files": [asdict(file) for file in checkpoint.files], "about": checkpoint.about}
    return json.dumps({**content, "sha256": _digest(content)}, indent=1).encode()


def _from_json(content: bytes, name: str) -> Checkpoint:
    try:
        values = json.loads(content)
        named = values.pop("sha256")
        if named != _digest(values) or values["format"] != FORMAT:
            raise ValueError(named)
        return Checkpoint(name, tuple(File(**file) for file in values["files"]), values["about"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("its manifest is not as it was written") from None


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
