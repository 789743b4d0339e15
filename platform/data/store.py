"""The store: one folder, local or `s3://`, for everything too large for SQL; writes are whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyarrow import fs

from ..errors import InvalidInput, NotFound, Unavailable

CHUNK_BYTES = 1 << 20
MOST_COPIED_BYTES = 5 << 30
"""S3 copies no larger object by itself."""


class Store:
    """Reads and writes files by their path below one root."""

    def __init__(self, root: str) -> None:
        self.root = root
        try:
            if "://" in root:
                self.filesystem, self._base = fs.FileSystem.from_uri(root)
            else:
                self.filesystem, self._base = fs.LocalFileSystem(), str(Path(root).absolute())
        except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
            raise InvalidInput(f"RAYLOOP_STORE={root}: it must be a folder or an s3:// URI ({error})") from None

    @property
    def is_local(self) -> bool:
        """True where the store is a folder of this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """The file system's own path of a file in the store."""
        return f"{self._base}/{name}" if name else self._base

    def uri(self, name: str) -> str:
        """The path by which any process with access to the store finds the file."""
        return self.path(name) if self.is_local else f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """True where there is a file or folder of that name."""
        return bool(self.filesystem.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def read(self, name: str) -> bytes:
        """The whole of one file. Raises NotFound."""
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise NotFound(f"{self.uri(name)} is not in the store") from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.uri(name)}: {error}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write one file; readers see all of it or nothing."""
        if self.is_local:
            self.write_chunks(name, [content])
            return
        path = self.path(name)
        try:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            with self.filesystem.open_output_stream(path) as stream:  # shown when its upload is complete
                stream.write(content)
        except OSError as error:
            raise Unavailable(f"cannot write {self.uri(name)}: {error.strerror or error}") from None

    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one file piece by piece; readers see all of it or nothing, and nothing where `chunks` raises."""
        path = self.path(name)
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            if self.is_local:
                _write_local(Path(temporary), Path(path), chunks)
            else:
                self._upload(temporary, path, chunks)
        except OSError as error:
            raise Unavailable(f"cannot write {self.uri(name)}: {error.strerror or error}") from None

    def _upload(self, temporary: str, path: str, chunks: Iterable[bytes]) -> None:
        # Closing a stream completes its upload, also after an error: only under another name is that no harm.
        size = 0
        try:
            with self.filesystem.open_output_stream(temporary) as stream:
                for chunk in chunks:
                    stream.write(chunk)
                    size += len(chunk)
            if size <= MOST_COPIED_BYTES:
                self.filesystem.copy_file(temporary, path)
            else:
                with (
                    self.filesystem.open_input_stream(temporary) as again,
                    self.filesystem.open_output_stream(path) as stream,
                ):
                    while chunk := again.read(CHUNK_BYTES):
                        stream.write(chunk)
        finally:
            self._forget(temporary)

    def _forget(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(path)

    def put_folder(self, name: str, folder: Path) -> str:
        """Copy a whole folder; in a local store it is there as a whole or not at all. Gives its URI."""
        path = self.path(name)
        try:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            if not self.is_local:
                fs.copy_files(str(folder), path, destination_filesystem=self.filesystem)
            elif not Path(path).exists():
                temporary = Path(f"{path}.{uuid.uuid4().hex[:8]}.tmp")
                try:
                    shutil.copytree(folder, temporary)
                    temporary.rename(path)
                except OSError:
                    if not Path(path).exists():  # else another process was first
                        raise
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise Unavailable(f"cannot write {self.uri(name)}: {error.strerror or error}") from None
        return self.uri(name)

    def open(self, name: str) -> Any:
        """A random-access Arrow file, for Parquet. Raises NotFound."""
        try:
            return self.filesystem.open_input_file(self.path(name))
        except FileNotFoundError:
            raise NotFound(f"{self.uri(name)} is not in the store") from None


def _write_local(temporary: Path, path: Path, chunks: Iterable[bytes]) -> None:
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
