"""The searched parameters: their ranges, which of them exist beside which others, and every point of a grid."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import model_validator

from .section import BrokenRule, Section

KINDS = ("choice", "uniform", "loguniform", "int")

Settings = dict[str, Any]


class Parameter(Section):
    """One searched setting: exactly one of choice, uniform, loguniform, int; and when it exists."""

    choice: list[Any] | None = None
    """One of these values."""
    uniform: list[Any] | None = None
    """A number between two bounds."""
    loguniform: list[Any] | None = None
    """A number between two bounds above 0, its logarithm uniform."""
    int: list[Any] | None = None
    """A whole number between two bounds, both included."""
    when: dict[str, Any] = {}
    """The parameter exists only where each of these others has the value, or one of the values, named here."""

    @model_validator(mode="after")
    def _is_sound(self) -> Parameter:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError("must hold exactly one of choice, uniform, loguniform, int")
        kind, values = self.kind, self.values
        if not values:
            raise BrokenRule("must not be empty", kind)
        if kind == "choice":
            return self
        numbers = [value for value in values if _is_number(value)]
        if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
            raise BrokenRule(f"{values} must be two numbers, the lower first", kind)
        if kind == "loguniform" and numbers[0] <= 0:
            raise BrokenRule(f"{values} must lie above 0", kind)
        if kind == "int" and any(value != round(value) for value in numbers):
            raise BrokenRule(f"{values} must be whole numbers", kind)
        return self

    @property
    def kind(self) -> str:
        """Which of choice, uniform, loguniform, int it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def values(self) -> list[Any]:
        """The choices, or the two bounds."""
        found: list[Any] = getattr(self, self.kind)
        return found

    @property
    def is_number(self) -> bool:
        """True where it lies between two bounds."""
        return self.kind != "choice"

    def allows(self, value: Any) -> bool:
        """True where the value is one that a search could draw."""
        if self.kind == "choice":
            # True == 1 in Python, and they are two settings.
            return any(
                value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.values
            )
        low, high = self.values
        is_inside = _is_number(value) and low <= value <= high
        return bool(is_inside and (self.kind != "int" or value == round(value)))

    def is_active(self, settings: Mapping[str, Any]) -> bool:
        """True where it exists beside these settings of the others."""
        return all(name in settings and settings[name] in as_list(wanted) for name, wanted in self.when.items())


Space = dict[str, Parameter]


def check_space(space: Mapping[str, Parameter]) -> None:
    """Raise BrokenRule for the first parameter that names another which can't be what it says, or itself."""
    for name, parameter in space.items():
        if name == "epochs":
            raise BrokenRule("can't be searched: search.epochs bounds every trial", "space", name)
        for parent, wanted in parameter.when.items():
            _check_condition(space, name, parent, as_list(wanted))
    in_order(space)


def in_order(space: Mapping[str, Parameter]) -> list[str]:
    """The parameters, each after those that it depends on. Raises BrokenRule where they depend on each other."""
    ordered: list[str] = []
    left = list(space)
    while left:
        ready = [name for name in left if set(space[name].when) <= set(ordered)]
        if not ready:
            raise BrokenRule(f"{', '.join(left)} depend on each other", "space", left[0], "when")
        ordered += ready
        left = [name for name in left if name not in ready]
    return ordered


def contains(space: Mapping[str, Parameter], settings: Mapping[str, Any]) -> bool:
    """True where a search over the space could have drawn exactly these settings."""
    active = {name for name, parameter in space.items() if parameter.is_active(settings)}
    return active == set(settings) and all(space[name].allows(value) for name, value in settings.items())


def grid(space: Mapping[str, Parameter]) -> Iterator[Settings]:
    """Every point of a space of choices and whole numbers, the last parameter changing fastest."""
    yield from _points(space, in_order(space), {})


def as_list(wanted: Any) -> list[Any]:
    """A condition's values: one stands for a list of one."""
    return wanted if isinstance(wanted, list) else [wanted]


def _points(space: Mapping[str, Parameter], names: list[str], settings: Settings) -> Iterator[Settings]:
    if not names:
        yield dict(settings)
        return
    name, *others = names
    parameter = space[name]
    if not parameter.is_active(settings):
        yield from _points(space, others, settings)
        return
    values = range(parameter.values[0], parameter.values[1] + 1) if parameter.kind == "int" else parameter.values
    for value in values:
        yield from _points(space, others, {**settings, name: value})


def _check_condition(space: Mapping[str, Parameter], name: str, parent: str, wanted: list[Any]) -> None:
    path = ("space", name, "when", parent)
    if parent == name:
        raise BrokenRule("can't depend on itself", *path)
    if parent not in space:
        close = difflib.get_close_matches(parent, space, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BrokenRule(f"{parent!r} is not a parameter of search.space{hint}", *path)
    if space[parent].kind not in {"choice", "int"}:
        raise BrokenRule(f"{parent!r} is a range of numbers: name one of choice or int", *path)
    for value in wanted:
        if not space[parent].allows(value):
            raise BrokenRule(f"{parent!r} is never {value!r}: {space[parent].kind} {space[parent].values}", *path)
    if not wanted:
        raise BrokenRule("must name a value", *path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
