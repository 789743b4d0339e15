"""Reads a project's source, Parquet or CSV, into Parquet bytes; it knows nothing of targets and features."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from pyarrow import fs

from ..errors import InvalidInput, NotFound

SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, as Parquet: the bytes of a Parquet file stay as they are."""

    name: str
    content: bytes
    table: pa.Table


def read_source_files(source: str) -> Iterator[SourceFile]:
    """Every file of a source, in order of name.

    Raises NotFound where there is none, InvalidInput where one can't be read; each names the file.
    """
    filesystem, paths = list_files(source)
    for path in paths:
        try:
            if isinstance(filesystem, fs.LocalFileSystem):  # whose own reasons are shorter
                content = Path(path).read_bytes()
            else:
                content = filesystem.open_input_stream(path).read()
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
        yield _parse(path, content)


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


def _parse(name: str, content: bytes) -> SourceFile:
    if name.endswith(".parquet"):
        try:
            return SourceFile(name, content, pq.read_table(pa.BufferReader(content)))
        except (pa.ArrowException, OSError):
            raise InvalidInput(f"cannot read {name}: it is not a Parquet file") from None
    if not name.endswith(".csv"):
        raise InvalidInput(f"cannot read {name}: a source file must end in .parquet or .csv")
    try:
        # An empty text is a gap, as it is for a number; "" in quotes is a text.
        options = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        table = csv.read_csv(pa.BufferReader(content), convert_options=options)
    except pa.ArrowException as error:
        raise InvalidInput(f"cannot read {name}: {str(error).splitlines()[0]}") from None
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return SourceFile(name, sink.getvalue().to_pybytes(), table)
