"""The code's state is the commit and the difference of the project's own folder; it can be laid out again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rayloop.platform.data import Store, bundle_code, checked_out, code_state, unpack_code
from rayloop.platform.errors import NotFound


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_code_is_named_by_commit_and_difference(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "project"
    root.mkdir()
    assert code_state(root) == {}

    git(root, "init", "-q")
    (root / "task.py").write_text("x = 1\n")
    git(root, "add", "task.py")
    git(root, "commit", "-q", "-m", "first")
    assert code_state(root) == {"commit": git(root, "rev-parse", "HEAD"), "diff": ""}
    (root / "task.py").write_text("x = 2\n")
    state = code_state(root)
    assert state["commit"] == git(root, "rev-parse", "HEAD")
    assert "-x = 1\n+x = 2" in state["diff"]
    bundled = unpack_code(bundle_code(root, store), store, tmp_path / "bundled")
    assert code_state(bundled) == state


def test_the_folder_s_place_and_what_git_does_not_know_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "models/churn"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    (folder / "task.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    (folder / "new.py").write_text("y = 1\n")
    (tmp_path / "outside.py").write_text("z = 1\n")
    state = code_state(folder)
    assert (state["prefix"], state["untracked"], state["diff"]) == ("models/churn/", "new.py", "")


def test_a_difference_that_is_no_utf_8_comes_back_byte_for_byte(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    (root / "latin.py").write_bytes(b"# caf\xe9\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    (root / "latin.py").write_bytes(b"# na\xefve\n")
    state = code_state(unpack_code(bundle_code(root, store), store, tmp_path / "bundled"))
    with checked_out(root, state, tmp_path) as tree:
        assert (tree / "latin.py").read_bytes() == b"# na\xefve\n"
    assert not tree.exists()


def test_what_can_t_be_checked_out_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    (root / "task.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    commit = git(root, "rev-parse", "HEAD")
    with (
        pytest.raises(NotFound, match="commit 000000000000 is not in the checkout"),
        checked_out(root, {"commit": "0" * 40}, tmp_path),
    ):
        pass
    with (
        pytest.raises(NotFound, match="the difference that was kept does not fit"),
        checked_out(root, {"commit": commit, "diff": "no difference at all"}, tmp_path),
    ):
        pass
    assert git(root, "worktree", "list").count("\n") == 0
