"""A bundle holds the project's own code, has one digest anywhere, and unpacks to the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rayloop.platform.data import Store, bundle, bundle_code, unpack_code
from rayloop.platform.errors import InvalidInput, NotFound

CODE = {"rayloop.yaml": "name: a\n", "task.py": "x = 1\n", "lib/deep/part.py": "y = 2\n", "pyproject.toml": ""}
OTHER = [
    "data.parquet",
    "rows/a.csv",
    "model.safetensors",
    ".hidden.py",
    ".git/config.toml",
    "__pycache__/task.py",
    "node_modules/a.py",
    "build/lib/task.py",
    "env/pyvenv.cfg",
    "env/lib/site.py",
]


def lay_out(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CODE.get(name, "x"))
    return root


def files(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_code_goes_round_and_nothing_else(tmp_path: Path, store: Store) -> None:
    root = lay_out(tmp_path / "project", [*CODE, *OTHER])
    (root / "link.py").symlink_to(root / "task.py")
    folder = unpack_code(bundle_code(root, store), store, tmp_path / "new" / "folder")
    assert files(folder) == CODE


def test_the_digest_depends_on_the_code_alone(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lay_out(tmp_path / "first", list(CODE))
    second = lay_out(tmp_path / "second", [*reversed(CODE), *OTHER])
    for path in second.rglob("*.py"):
        os.utime(path, (0, 2_000_000_000))
        path.chmod(0o700)
    digest = bundle_code(first, store)
    listed = Path.iterdir
    with monkeypatch.context() as patch:  # file systems list a folder in any order
        patch.setattr(Path, "iterdir", lambda folder: iter(sorted(listed(folder), reverse=True)))
        assert bundle_code(second, store) == digest
    (second / "task.py").write_text("x = 2\n")
    assert bundle_code(second, store) != digest
    (second / "task.py").write_text("x = 1\n")
    (second / "task.py").rename(second / "tusk.py")
    assert bundle_code(second, store) != digest


def test_a_changed_bundle_is_refused(tmp_path: Path, store: Store) -> None:
    digest = bundle_code(lay_out(tmp_path / "project", list(CODE)), store)
    other = bundle_code(lay_out(tmp_path / "other", ["task.py"]), store)
    store.write(f"code/{digest}.zip", store.read(f"code/{other}.zip"))
    with pytest.raises(InvalidInput, match=f"the code bundle {digest[:12]} was changed after it was made"):
        unpack_code(digest, store, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_missing_bundle_is_not_found(tmp_path: Path, store: Store) -> None:
    with pytest.raises(NotFound):
        unpack_code("f" * 64, store, tmp_path)


def test_too_much_code_is_refused(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 100)
    with pytest.raises(InvalidInput, match=r"packs to \d+ bytes; 100 are the most"):
        bundle_code(lay_out(tmp_path / "project", list(CODE)), store)
    assert not store.exists("code")
