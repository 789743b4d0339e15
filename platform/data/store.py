"""The store: one folder, local or `s3://`, for everything too large for SQL; writes are whole or not at all."""

from __future__ import annotations

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
        self._was_there = False

    @property
    def is_local(self) -> bool:
        """True where the store is a folder of this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """The file system's own path of a file in the store."""
        return f"{self._base}/{name}" if name else self._base

    def uri(self, name: str) -> str:
        """The path by which any process with access to the store finds the file."""
        if self.is_local:
            return self.path(name)
        place, sign, options = self.root.partition("?")  # which endpoint, say
        return f"{place.rstrip('/')}/{name}{sign}{options}"

    def shown(self, name: str) -> str:
        """The path for a person to read: without the keys and options that a URI may hold."""
        return self.path(name) if self.is_local else f"{self.root.partition('://')[0]}://{self.path(name)}"

    def exists(self, name: str) -> bool:
        """True where there is a file or folder of that name. Raises Unavailable."""
        try:
            return bool(self.filesystem.get_file_info(self.path(name)).type != fs.FileType.NotFound)
        except OSError as error:
            raise Unavailable(f"cannot read {self.shown(name)}: {error}") from None

    def entries(self, name: str) -> list[fs.FileInfo]:
        """What lies in a folder; nothing where there is no such folder. Raises Unavailable."""
        try:
            found: list[fs.FileInfo] = self.filesystem.get_file_info(
                fs.FileSelector(self.path(name), allow_not_found=True)
            )
        except OSError as error:
            raise Unavailable(f"cannot read {self.shown(name)}: {error}") from None
        return found

    def read(self, name: str) -> bytes:
        """The whole of one file. Raises NotFound, or Unavailable where the store can't be asked."""
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                content = bytes(stream.read())
        except FileNotFoundError:
            self._require_root()
            raise NotFound(f"{self.shown(name)} is not in the store") from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.shown(name)}: {error}") from None
        self._was_there = True
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write one file; readers see all of it or nothing. Raises Unavailable."""
        if self.is_local:
            self.write_chunks(name, [content])
            return
        path = self.path(name)
        self._require_root()
        try:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            with self.filesystem.open_output_stream(path) as stream:  # shown when its upload is complete
                stream.write(content)
        except OSError as error:
            raise Unavailable(f"cannot write {self.shown(name)}: {error.strerror or error}") from None

    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one file piece by piece; readers see all of it or nothing, and nothing where `chunks` raises."""
        path, temporary = self.path(name), f"{name}.{uuid.uuid4().hex[:8]}.tmp"
        self._require_root()
        try:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            if self.is_local:
                _write_local(Path(self.path(temporary)), Path(path), chunks)
                self._was_there = True
            else:
                self._upload(temporary, path, chunks)
        except OSError as error:
            raise Unavailable(f"cannot write {self.shown(name)}: {error.strerror or error}") from None

    def _upload(self, temporary: str, path: str, chunks: Iterable[bytes]) -> None:
        # Closing a stream completes its upload, also after an error: only under another name is that no harm.
        size, aside = 0, self.path(temporary)
        try:
            with self.filesystem.open_output_stream(aside) as stream:
                for chunk in chunks:
                    stream.write(chunk)
                    size += len(chunk)
            if size <= MOST_COPIED_BYTES:
                self.filesystem.copy_file(aside, path)
                return
            with (
                self.filesystem.open_input_stream(aside) as again,
                self.filesystem.open_output_stream(path) as stream,
            ):
                while chunk := again.read(CHUNK_BYTES):
                    stream.write(chunk)
        finally:
            self.remove(temporary)

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
            raise Unavailable(f"cannot write {self.shown(name)}: {error.strerror or error}") from None
        return self.uri(name)

    def open(self, name: str) -> Any:
        """A random-access Arrow file, for Parquet. Raises NotFound, or Unavailable where the store can't be asked."""
        try:
            return self.filesystem.open_input_file(self.path(name))
        except FileNotFoundError:
            self._require_root()
            raise NotFound(f"{self.shown(name)} is not in the store") from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.shown(name)}: {error}") from None

    def remove(self, name: str) -> None:
        """Remove one file, where it is there. Raises Unavailable."""
        try:
            self.filesystem.delete_file(self.path(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"cannot remove {self.shown(name)}: {error}") from None

    def require(self) -> None:
        """Raise Unavailable where a local store has no folder yet, or no more: whoever goes on in it can't begin it."""
        self._was_there = True
        self._require_root()

    def _require_root(self) -> None:
        """Raise Unavailable where a local store was there and is not: what is written now would begin another one."""
        if self._was_there and self.is_local and not Path(self._base).exists():
            raise Unavailable(f"the store {self.root} is gone: its folder is not there any more")


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
