"""Reads `task.params` for a built-in task, each by a rule that its sentence names; it builds nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import InvalidInput


class Options:
    """The parameters that a project sets over a task's own defaults."""

    def __init__(self, task: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Raises InvalidInput for a name that has no default."""
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            raise InvalidInput(f"task.params.{unknown[0]} is unknown to {task}; known: {', '.join(defaults)}")
        self._values = {**defaults, **given}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def choice(self, name: str, known: Collection[str]) -> str:
        """One of several words."""
        value = self._values[name]
        if not isinstance(value, str) or value not in known:
            raise self.broken(name, f"it must be one of {', '.join(known)}")
        return value

    def count(self, name: str, *, least: int = 1) -> int:
        """A whole number of `least` or more."""
        value = self._values[name]
        if not is_count(value, least):
            raise self.broken(name, f"it must be a whole number {f'of {least} or more' if least != 1 else 'above 0'}")
        return int(value)

    def share(self, name: str) -> float:
        """A number from 0 to below 1."""
        value = self._values[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
            raise self.broken(name, "it must be at least 0 and below 1")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values[name]
        if not isinstance(value, bool):
            raise self.broken(name, "it must be true or false")
        return value

    def widths(self, name: str) -> list[int]:
        """Whole numbers above 0, or a single one."""
        value = self._values[name]
        widths = [value] if is_count(value) else value
        if not isinstance(widths, (list, tuple)) or not all(is_count(width) for width in widths):
            raise self.broken(name, "it must be a list of widths above 0")
        return list(widths)

    def broken(self, name: str, rule: str) -> InvalidInput:
        """The sentence of a parameter that breaks its rule."""
        return InvalidInput(f"task.params.{name} = {self._values[name]!r}: {rule}")


def is_count(value: object, least: int = 1) -> bool:
    """True for a whole number of `least` or more, which no boolean is."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
