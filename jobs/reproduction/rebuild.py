"""Rebuilds the code of a run: from git where the checkout has its commit, held against the bundle that ran."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ...platform.data import Store, bundle_code, checked_out, code_state, unpack_code
from ...platform.data.code import STATE_FILE
from ...platform.errors import NotFound
from ...platform.state import Run


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The project's folder as it ran, and how it was come by, a sentence each."""

    folder: Path
    notes: tuple[str, ...]


def rebuild_code(store: Store, run: Run, repository: Path, scratch: Path) -> Rebuilt:
    """Lay out the bundle that ran, and prove by git where it came from.

    A bundle holds the project's Python, YAML and TOML files, those that git doesn't know too. Raises NotFound where
    the run kept none, InvalidInput where it was changed since.
    """
    if not run.code:
        raise NotFound(f"run {run.key} kept no code, so it can't be reproduced")
    bundle = unpack_code(run.code, store, scratch / "bundle")
    state = code_state(bundle) if (bundle / STATE_FILE).exists() else {}
    if not state:
        return Rebuilt(bundle, (f"the kept files, bundle {run.code[:12]}; they were in no git checkout",))
    short = state["commit"][:12]
    untracked = state.get("untracked", "").splitlines()
    lost = [name for name in untracked if not (bundle / name).is_file()]
    notes = [f"untracked then, and not kept: {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''}"] if lost else []
    what = f"commit {short}" + (" with its uncommitted difference" if state["diff"] else "")
    try:
        with checked_out(repository, state, scratch) as tree:
            added = _add_unknown(bundle, tree)
            is_same = bundle_code(tree, store) == run.code
    except NotFound as reason:
        return Rebuilt(bundle, (f"the kept files of {what}, bundle {run.code[:12]}; {reason}", *notes))
    what += f" and {added} file(s) that git does not know" if added else ""
    if not is_same:
        return Rebuilt(bundle, (f"the kept files, bundle {run.code[:12]}; git gives others for {what}", *notes))
    return Rebuilt(bundle, (f"{what}, which is byte for byte the bundle {run.code[:12]} that ran", *notes))


def _add_unknown(bundle: Path, tree: Path) -> int:
    """Lay what the bundle has and the checkout has not into it; returns how many files, but for the bundle's note."""
    names = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]
    unknown = [name for name in names if not (tree / name).exists()]
    for name in unknown:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, tree / name)
    return len([name for name in unknown if name.name != STATE_FILE])
