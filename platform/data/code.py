"""Which code a project is at: the commit and the uncommitted difference of its git checkout."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

STATE_FILE = ".rayloop-code.json"  # in a bundle, which is no checkout any more


def code_state(folder: Path) -> dict[str, str]:
    """`commit` and `diff` of the checkout around `folder`, or of the one it was bundled from; empty without one."""
    kept = folder / STATE_FILE
    if kept.exists():
        state: dict[str, str] = json.loads(kept.read_text())
        return state
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit.strip(), "diff": _git(folder, "diff", "HEAD", "--", ".") or ""}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
