"""Owns how the edge's files reach the disk: whole or not at all, and for their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; leave one that is there as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


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
