"""The project's own small files, packed by content, so that jobs and replicas run the code that was meant."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

from ..errors import InvalidInput
from .code import STATE_FILE, code_state
from .store import Store

SUFFIXES = frozenset({".py", ".yaml", ".yml", ".toml"})
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist"})
MOST_BYTES = 16 * 1024 * 1024


def bundle_code(root: Path, store: Store) -> str:
    """Pack the project's code and settings (never data) into the store; returns the bundle's digest."""
    buffer = io.BytesIO()
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files(root)}
    if state := code_state(root):
        contents[STATE_FILE] = json.dumps(state, sort_keys=True).encode()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            # A fixed date and no compression: the same files give the same bytes, and so one digest everywhere.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name])
    content = buffer.getvalue()
    if len(content) > MOST_BYTES:
        raise InvalidInput(f"the code beside {root} packs to {len(content)} bytes; {MOST_BYTES} are the most")
    digest = hashlib.sha256(content).hexdigest()
    if not store.exists(_name(digest)):
        store.write(_name(digest), content)
    return digest


def unpack_code(digest: str, store: Store, folder: Path) -> Path:
    """Lay a bundle out in `folder`; returns that folder. Raises InvalidInput where its bytes are not the digest's."""
    content = store.read(_name(digest))
    if hashlib.sha256(content).hexdigest() != digest:
        raise InvalidInput(f"the code bundle {digest[:12]} was changed after it was made")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder


def _name(digest: str) -> str:
    return f"code/{digest}.zip"


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for path in root.iterdir():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            if path.name not in SKIPPED_FOLDERS and not (path / "pyvenv.cfg").exists():
                found += _files(path)
        elif path.suffix in SUFFIXES:
            found.append(path)
    return found
