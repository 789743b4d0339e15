"""The code's state is the commit and the difference of the project's own folder, in a checkout and in a bundle."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rayloop.platform.data import Store, bundle_code, code_state, unpack_code


def test_the_code_is_named_by_commit_and_difference(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "project"
    root.mkdir()
    assert code_state(root) == {}

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (root / "task.py").write_text("x = 1\n")
    git("add", "task.py")
    git("commit", "-q", "-m", "first")
    assert code_state(root) == {"commit": git("rev-parse", "HEAD"), "diff": ""}
    (root / "task.py").write_text("x = 2\n")
    state = code_state(root)
    assert state["commit"] == git("rev-parse", "HEAD")
    assert "-x = 1\n+x = 2" in state["diff"]
    bundled = unpack_code(bundle_code(root, store), store, tmp_path / "bundled")
    assert code_state(bundled) == state
