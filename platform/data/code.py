"""Which code a project is at: the commit, the uncommitted difference and the untracked files of its git checkout."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NotFound

STATE_FILE = ".rayloop-code.json"  # in a bundle, which is no checkout any more

# A person's own settings of git must not change what a stored difference looks like.
_DIFF = (
    *("-c", "core.quotePath=true", "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative"),
    *("--src-prefix=a/", "--dst-prefix=b/", "HEAD", "--", "."),
)


def code_state(folder: Path) -> dict[str, str]:
    """`commit` and `diff` of the checkout around `folder`, or of the one it was bundled from; empty without one.

    Where they are not empty, also `prefix`, the folder's place in the checkout, and `untracked`, its files that git
    does not know, one a line.
    """
    kept = folder / STATE_FILE
    if kept.exists():
        state: dict[str, str] = json.loads(kept.read_text())
        return state
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    found = {"commit": commit.strip(), "diff": _git(folder, *_DIFF) or ""}
    more = {
        "prefix": (_git(folder, "rev-parse", "--show-prefix") or "").strip(),
        "untracked": (_git(folder, "ls-files", "--others", "--exclude-standard", "--", ".") or "").strip("\n"),
    }
    return found | {name: text for name, text in more.items() if text}


@contextmanager
def checked_out(repository: Path, state: dict[str, str], scratch: Path) -> Iterator[Path]:
    """The project's folder at a commit with its difference applied, in a git worktree that is removed afterwards.

    Raises NotFound where the repository has not the commit, or where the difference does not fit it.
    """
    commit = state["commit"]
    if _git(repository, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise NotFound(f"commit {commit[:12]} is not in the checkout around {repository}")
    tree = scratch / "worktree"
    if _git(repository, "worktree", "add", "--detach", "--force", str(tree), commit) is None:
        raise NotFound(f"git can't lay commit {commit[:12]} out at {tree}")
    try:
        if state.get("diff") and not _apply(tree, state["diff"]):
            raise NotFound(f"the difference that was kept does not fit commit {commit[:12]}")
        yield tree / state.get("prefix", "")
    finally:
        _git(repository, "worktree", "remove", "--force", str(tree))


def _apply(tree: Path, diff: str) -> bool:
    command = ["git", "-C", str(tree), "apply", "--binary", "--whitespace=nowarn", "-"]
    content = diff.encode("utf-8", "surrogateescape")
    return subprocess.run(command, input=content, capture_output=True, timeout=60, check=False).returncode == 0


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A file that is no UTF-8 must come back byte for byte.
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
