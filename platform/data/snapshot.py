"""Immutable, content-addressed versions of a table: objects named by their hash, and a manifest over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ..errors import InvalidInput
from ..project import Project
from ..stats import ParquetFiles, Profile, profile_in_order, read_profile, write_profile
from .checks import check_file
from .source import SourceFile
from .store import Store

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One Parquet object of a snapshot; `source` is the name of the file that it came from."""

    sha256: str
    rows: int
    size_bytes: int
    source: str

    @property
    def object_name(self) -> str:
        """Where it lies in the store."""
        return f"objects/{self.sha256[:2]}/{self.sha256}.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot consists of. Its digest names the snapshot: same content, same name, wherever it is made."""

    files: tuple[SnapshotFile, ...]
    columns: tuple[tuple[str, str], ...]  # name and Arrow type

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 over the files' hashes and sizes, in order, and the columns; not over the files' names."""
        files = [(file.sha256, file.rows, file.size_bytes) for file in self.files]
        content = {"format": FORMAT, "files": files, "columns": self.columns}
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        content = {
            "format": FORMAT,
            "digest": self.digest,
            "rows": self.rows,
            "columns": [list(column) for column in self.columns],
            "files": [asdict(file) for file in self.files],
        }
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a stored manifest. Raises InvalidInput where it was changed after it was made."""
        try:
            values: dict[str, Any] = json.loads(content)
            files = tuple(SnapshotFile(**file) for file in values["files"])
            manifest = cls(files, tuple((name, kind) for name, kind in values["columns"]))
            named = values["digest"]
        except (ValueError, KeyError, TypeError):
            raise InvalidInput("the snapshot's manifest is damaged") from None
        if named != manifest.digest:
            raise InvalidInput(f"the manifest of snapshot {str(named)[:12]} was changed after it was made")
        return manifest


class Snapshot:
    """A snapshot in a store, ready to be read."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest
        self.digest = manifest.digest

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in the order of the files."""
        names = None if columns is None else list(columns)
        tables = []
        for file in self.manifest.files:
            with self.store.open(file.object_name) as source:
                tables.append(pq.read_table(source, columns=names))
        return pa.concat_tables(tables)

    def row_keys(self) -> list[tuple[str, int]]:
        """(hash, rows) of each file, which names every row where the data has no key of its own."""
        return [(file.sha256, file.rows) for file in self.manifest.files]

    def profile(self) -> Profile:
        """The statistics that were taken when the snapshot was made."""
        return read_profile(self.store.read(f"snapshots/{self.digest}/profile.parquet"))


def create_snapshot(
    store: Store,
    project: Project,
    files: Iterable[SourceFile],
    accept: Callable[[Profile, pa.Schema], None] | None = None,
) -> Snapshot:
    """Check every file, then store objects, profile and manifest, in that order; the same content is stored once.

    No file is held whole. Each is read to be checked and hashed, and once more to be stored, rather than stored at
    once and removed where it breaks a rule: a source that was taken in before, as in most runs of a pipeline, then
    writes nothing. Raises InvalidInput, before anything is stored, where a file breaks a rule of the project, or where
    `accept` raises it of what is new.
    """
    kept: list[tuple[SnapshotFile, SourceFile]] = []
    seen: set[str] = set()
    schema: pa.Schema | None = None
    for file in files:
        digest, size = file.hashed()  # first: what is changed after it is not what will be stored
        check_file(file, project)
        schema = _same_schema(schema, file)
        if digest not in seen:  # a file copied twice would count its rows twice
            seen.add(digest)
            kept.append((SnapshotFile(digest, file.rows, size, file.name.rpartition("/")[2]), file))
    assert schema is not None
    manifest = Manifest(tuple(entry for entry, _ in kept), tuple((field.name, str(field.type)) for field in schema))
    folder = f"snapshots/{manifest.digest}"
    if store.exists(f"{folder}/manifest.json"):
        return Snapshot(store, manifest)
    found = _profile([file for _, file in kept])
    if accept is not None:
        accept(found, schema)
    for entry, file in kept:
        if not store.exists(entry.object_name):
            store.write_chunks(entry.object_name, _unchanged(file, entry.sha256))
    store.write(f"{folder}/profile.parquet", write_profile(found))
    store.write(f"{folder}/manifest.json", manifest.to_json())
    return Snapshot(store, manifest)


def _unchanged(file: SourceFile, sha256: str) -> Iterator[bytes]:
    """The file's bytes. Raises InvalidInput at their end where they are not those that were checked."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise InvalidInput(f"{file.name} was changed while it was read: add it again")


def _profile(files: Sequence[SourceFile]) -> Profile:
    """Statistics of all rows, in memory that no number of rows changes."""
    filesystems: list[fs.FileSystem] = []
    for file in files:  # more than one where CSV files became temporary ones
        if not any(known.equals(file.filesystem) for known in filesystems):
            filesystems.append(file.filesystem)
    return profile_in_order(
        *(ParquetFiles(known, [f.path for f in files if known.equals(f.filesystem)]) for known in filesystems)
    )


def open_snapshot(store: Store, digest: str) -> Snapshot:
    """A snapshot by its digest. Raises NotFound, or InvalidInput where its manifest was changed."""
    manifest = Manifest.from_json(store.read(f"snapshots/{digest}/manifest.json"))
    if manifest.digest != digest:
        raise InvalidInput(f"the manifest of snapshot {digest[:12]} is that of {manifest.digest[:12]}")
    return Snapshot(store, manifest)


def _same_schema(known: pa.Schema | None, file: SourceFile) -> pa.Schema:
    found = file.schema.remove_metadata()
    if known is None or found.equals(known):
        return found
    for field in known:
        if field.name not in found.names:
            raise InvalidInput(f"{file.name} has no column {field.name!r}, which the files before it have")
        if found.field(field.name).type != field.type:
            other = found.field(field.name).type
            raise InvalidInput(
                f"{file.name}: column {field.name!r} has type {other}, but {field.type} in the files before it"
            )
    extra = [name for name in found.names if name not in known.names]
    if extra:
        raise InvalidInput(f"{file.name} has a column {extra[0]!r}, which the files before it have not")
    if found.names != known.names:
        raise InvalidInput(f"{file.name} has the columns of the files before it in another order")
    differing = next(field.name for field in known if found.field(field.name).nullable != field.nullable)
    raise InvalidInput(f"{file.name}: column {differing!r} may hold nulls in one of the files, but not in all of them")
