"""Reads a project's source, Parquet or CSV, as Parquet and in pieces; it knows nothing of targets and features."""

from __future__ import annotations

import glob
import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from pyarrow import fs

from ..errors import InvalidInput, NotFound
from .pieces import read_pieces

SUFFIXES = (".parquet", ".csv")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SourceFile:
    """One file of a source as Parquet on a file system, read in pieces; a Parquet file is left as it is.

    What reads it raises InvalidInput where its bytes are no Parquet.
    """

    name: str
    filesystem: fs.FileSystem
    path: str
    rows: int
    schema: pa.Schema

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, in order."""
        try:
            with self.filesystem.open_input_stream(self.path) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise InvalidInput(f"cannot read {self.name}: {error}") from None

    def hashed(self) -> tuple[str, int]:
        """The SHA-256 of its bytes, and how many they are."""
        digest, size = hashlib.sha256(), 0
        for chunk in self.chunks():
            digest.update(chunk)
            size += len(chunk)
        return digest.hexdigest(), size

    def pieces(self) -> Iterator[pa.Table]:
        """Its rows, in order, in memory that neither rows nor row groups change."""
        with _named(self.name), self.filesystem.open_input_file(self.path) as opened:
            yield from read_pieces(opened, is_local=isinstance(self.filesystem, fs.LocalFileSystem))

    @property
    def table(self) -> pa.Table:
        """All of its rows at once."""
        with _named(self.name), self.filesystem.open_input_file(self.path) as opened:
            return pq.ParquetFile(opened).read()


def read_source_files(source: str) -> Iterator[SourceFile]:
    """Every file of a source, in order of name, ready to be read.

    Raises NotFound where there is none, InvalidInput where one can't be read; each names the file.
    """
    filesystem, paths = list_files(source)
    for path in paths:
        try:
            if isinstance(filesystem, fs.LocalFileSystem):  # whose own reasons are shorter
                Path(path).open("rb").close()
            else:
                filesystem.open_input_file(path).close()
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
        if path.endswith(".csv"):
            yield _from_csv(path, filesystem)
        elif path.endswith(".parquet"):
            yield _parquet(path, filesystem, path)
        else:
            raise InvalidInput(f"cannot read {path}: a source file must end in .parquet or .csv")


def parquet_paths(source: str) -> tuple[fs.FileSystem, list[str]]:
    """The Parquet files of a source and their file system; InvalidInput for a file of another kind."""
    filesystem, paths = list_files(source, (".parquet",))
    if odd := [path for path in paths if not path.endswith(".parquet")]:
        raise InvalidInput(f"cannot read {odd[0]}: its name must end in .parquet")
    return filesystem, paths


def list_files(source: str, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[fs.FileSystem, list[str]]:
    """The files that a path, a folder, a glob or a URI names, in order of name; of folders those with a suffix.

    Raises NotFound where there is none, InvalidInput for a place that can't be reached.
    """
    if "://" not in source:
        return fs.LocalFileSystem(), [str(path) for path in _local_files(Path(source), suffixes)]
    try:
        filesystem, path = fs.FileSystem.from_uri(source)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise NotFound(f"no such file: {source}")
        if info.type != fs.FileType.Directory:
            return filesystem, [path]
        found = filesystem.get_file_info(fs.FileSelector(path))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {source}: {error}") from None
    shown = [item.path for item in found if item.base_name[0] not in "._"]
    paths = sorted(path for path in shown if path.endswith(suffixes))
    if not paths:
        raise NotFound(f"no {' or '.join(suffixes)} file in {source}")
    return filesystem, paths


def _local_files(source: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.suffix in suffixes and p.name[0] not in "._")
        if not found:
            raise NotFound(f"no {' or '.join(suffixes)} file in {source}")
        return found
    if source.exists():  # before the glob: a name may hold brackets
        return [source]
    if any(sign in str(source) for sign in "*?["):
        found = sorted(Path(name) for name in glob.glob(str(source), recursive=True))  # noqa: PTH207
        if not found:
            raise NotFound(f"no file matches {source}")
        return found
    raise NotFound(f"no such file: {source}")


def _parquet(name: str, filesystem: fs.FileSystem, path: str) -> SourceFile:
    with _named(name), filesystem.open_input_file(path) as opened:
        file = pq.ParquetFile(opened)
        return SourceFile(name, filesystem, path, file.metadata.num_rows, file.schema_arrow)


def _from_csv(name: str, filesystem: fs.FileSystem) -> SourceFile:
    """The same rows as Parquet, in a temporary file that goes when nobody holds it any more."""
    try:
        # An empty text is a gap, as it is for a number; "" in quotes is a text.
        options = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        with filesystem.open_input_stream(name) as stream:
            table = csv.read_csv(stream, convert_options=options)
    except pa.ArrowException as error:
        raise InvalidInput(f"cannot read {name}: {str(error).splitlines()[0]}") from None
    handle, path = tempfile.mkstemp(prefix="rayloop-", suffix=".parquet")
    os.close(handle)
    try:
        pq.write_table(table, path, compression="zstd")
        made = _parquet(name, fs.LocalFileSystem(), path)
    except BaseException:
        Path(path).unlink()
        raise
    weakref.finalize(made, os.unlink, path)
    return made


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError):
        raise InvalidInput(f"cannot read {name}: it is not a Parquet file") from None
