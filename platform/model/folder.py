"""The folder that a model lies in, ours or a foreign one: where it is, which it is, and the hash of its files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from pathlib import Path

import yaml
from pyarrow import fs

from ..errors import InvalidInput, NotFound
from .artifact import MODEL_FILE

DESCRIPTION_FILE = "MLmodel"  # MLflow's
OWN_FLAVOR = "rayloop"


class Fetched:
    """A folder on this machine; where it is a copy, it is removed with this object."""

    def __init__(self, path: Path, *, is_copy: bool = False) -> None:
        self.path = path
        if is_copy:
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


def fetch_folder(source: str) -> Fetched:
    """A model's folder, copied to this machine where it lies elsewhere. Raises NotFound."""
    if "://" in source and not source.startswith("file://"):
        scratch = tempfile.mkdtemp(prefix="rayloop-model-")
        fetched = Fetched(Path(scratch), is_copy=True)
        fs.copy_files(source, scratch)
    else:
        fetched = Fetched(Path(source.removeprefix("file://")))
    if not any((fetched.path / name).is_file() for name in (DESCRIPTION_FILE, MODEL_FILE)):
        raise NotFound(f"no model at {source}: neither {DESCRIPTION_FILE} nor {MODEL_FILE} is there")
    return fetched


def own_artifact(folder: Path) -> Path | None:
    """Where our own artifact lies in a model's folder; None for a foreign model."""
    if (folder / MODEL_FILE).is_file():
        return folder
    try:
        described = yaml.safe_load((folder / DESCRIPTION_FILE).read_text())
        flavor = dict(described["flavors"]).get(OWN_FLAVOR)
        return None if flavor is None else folder / str(flavor["data"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise InvalidInput(f"{folder / DESCRIPTION_FILE} is damaged") from None


def folder_sha256(folder: Path) -> str:
    """One SHA-256 over the names and bytes of all files; what Python compiles beside them is left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{found}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()
