"""What is installed: the lock of an environment, and how two of them differ, line by line."""

from __future__ import annotations

import sys
from importlib.metadata import distributions

PYTHON = "python"


def environment_lock() -> str:
    """Python and every installed distribution as `name==version`, one a line, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in distributions()}
    found.add(f"{PYTHON}=={'.'.join(str(part) for part in sys.version_info[:3])}")
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def compare_locks(then: str, now: str) -> list[str]:
    """One sentence for each distribution that is not as it was, in order of name."""
    before, after = _versions(then), _versions(now)
    sentences = []
    for name in sorted(before.keys() | after.keys()):
        was, is_now = before.get(name), after.get(name)
        if was == is_now:
            continue
        if is_now is None:
            sentences.append(f"{name} {was} is not installed here")
        elif was is None:
            sentences.append(f"{name} {is_now} was not installed then")
        else:
            sentences.append(f"{name} was {was}, is {is_now}")
    return sentences


def _versions(lock: str) -> dict[str, str]:
    parted = (line.partition("==") for line in lock.splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): version for name, _, version in parted}
