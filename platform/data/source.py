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
    if "://" in source:
        yield from _read_remote(source)
        return
    for path in _local_files(Path(source)):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
        yield _parse(str(path), content)


def _local_files(source: Path) -> list[Path]:
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.suffix in SUFFIXES and p.name[0] not in "._")
        if not found:
            raise NotFound(f"no .parquet or .csv file in {source}")
        return found
    if source.exists():  # before the glob: a name may hold brackets
        return [source]
    if any(sign in str(source) for sign in "*?["):
        found = sorted(Path(name) for name in glob.glob(str(source), recursive=True))  # noqa: PTH207
        if not found:
            raise NotFound(f"no file matches {source}")
        return found
    raise NotFound(f"no such file: {source}")


def _read_remote(source: str) -> Iterator[SourceFile]:
    try:
        filesystem, path = fs.FileSystem.from_uri(source)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise NotFound(f"no such file: {source}")
        if info.type == fs.FileType.Directory:
            found = filesystem.get_file_info(fs.FileSelector(path))
            shown = [item.path for item in found if item.base_name[0] not in "._"]
            paths = sorted(path for path in shown if path.endswith(SUFFIXES))
        else:
            paths = [path]
        contents = [(name, filesystem.open_input_stream(name).read()) for name in paths]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {source}: {error}") from None
    if not contents:
        raise NotFound(f"no .parquet or .csv file in {source}")
    for name, content in contents:
        yield _parse(name, content)


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
