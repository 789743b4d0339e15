"""Owns how the edge's files reach the disk: whole or not at all, and for their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ...platform.errors import Conflict


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; leave one that is there as it is.

    Raises Conflict for one that is another user's, or that others may write to: whoever made it before us, in a folder
    like /tmp, could read the secret or put a socket in the place of ours.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid():
        raise Conflict(f"folder {folder} belongs to user {found.st_uid}, and the edge's must be our own: remove it")
    if found.st_mode & 0o022 and not folder.is_symlink():
        raise Conflict(f"others may write to folder {folder}, and nobody else may write to the edge's: change its mode")


def write_durably(path: Path, text: str) -> None:
    """Replace a file by way of a temporary one beside it, so that nobody ever sees half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
