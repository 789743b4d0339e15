"""Owns constraints: what a table's columns must keep, as values that a person can edit; it checks nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import InvalidInput
from ..stats.columns import KIND_OF, Type
from .chance import CHANCE

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ColumnConstraints:
    """What one column must keep; None asks for nothing.

    A share is what may break the rule, beyond which chance must not explain the rest; 0 is absolute, so that one row
    is too many.
    """

    type: Type | None = None
    is_required: bool = True
    """False where the column may be missing."""
    max_null_share: float | None = None
    """Of the rows."""
    max_not_finite_share: float | None = None
    """NaN and infinities; of the rows that are not null."""
    minimum: float | None = None
    maximum: float | None = None
    max_out_of_range_share: float | None = None
    """Of the finite values."""
    max_negative_share: float | None = None
    """Of the finite values."""
    max_fraction_share: float | None = None
    """Of the finite values: those that are no whole numbers."""
    domain: tuple[str, ...] | None = None
    """The texts that are known."""
    max_unknown_share: float | None = None
    """Of the texts."""
    max_duplicate_share: float | None = None
    """Of the values: those that repeat another one."""
    top_share: float | None = None
    """How much of the values the most frequent one may be; only a constant column is held against it."""
    width: int | None = None
    """Numbers in each vector."""

    def __post_init__(self) -> None:
        if self.type is not None and self.type not in KIND_OF:
            raise InvalidInput(f"type is {self.type!r}, but it must be one of {', '.join(KIND_OF)}")
        if not isinstance(self.is_required, bool):
            raise InvalidInput(f"is_required is {self.is_required!r}, but it must be true or false")
        for name in SHARES:
            share = getattr(self, name)
            if share is not None and not (_is_number(share) and 0 <= share <= 1):
                raise InvalidInput(f"{name} is {share!r}, but it must be a share from 0 to 1")
        for name in ("minimum", "maximum"):
            bound = getattr(self, name)
            if bound is not None and not (_is_number(bound) and math.isfinite(bound)):
                raise InvalidInput(f"{name} is {bound!r}, but it must be a finite number")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise InvalidInput(f"minimum {self.minimum} lies above maximum {self.maximum}")
        if self.width is not None and not _is_count(self.width, 1):
            raise InvalidInput(f"width is {self.width!r}, but it must be a whole number from 1 on")
        domain: object = self.domain
        if domain is not None and not (isinstance(domain, tuple) and all(isinstance(text, str) for text in domain)):
            raise InvalidInput("domain must be a list of texts")


SHARES = tuple(found.name for found in fields(ColumnConstraints) if found.name.endswith("_share"))
"""Names of the keys that are shares."""


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a table must keep."""

    columns: Mapping[str, ColumnConstraints] = field(default_factory=dict)
    rows: int = 0
    """Rows of the reference that they were inferred from; 0 where a person wrote them."""
    min_rows: int = 1
    chance: float = CHANCE
    """How likely one rule may call a sound table unsound."""

    def __post_init__(self) -> None:
        for name, value in (("rows", self.rows), ("min_rows", self.min_rows)):
            if not _is_count(value, 0):
                raise InvalidInput(f"{name} is {value!r}, but it must be a whole number from 0 on")
        if not (_is_number(self.chance) and 0 < self.chance < 1):
            raise InvalidInput(f"chance is {self.chance!r}, but it must lie between 0 and 1")

    def only(self, names: Iterable[str]) -> Constraints:
        """The same for some of the columns."""
        wanted = set(names)
        return replace(self, columns={name: column for name, column in self.columns.items() if name in wanted})

    def to_json(self) -> str:
        """The file: what asks for nothing is left out."""
        columns = {name: _brief(column) for name, column in self.columns.items()}
        values = {"format": FORMAT, "rows": self.rows, "min_rows": self.min_rows, "chance": self.chance}
        return json.dumps(values | {"columns": columns}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: str | bytes) -> Constraints:
        """Read what `to_json` wrote and a person may have edited; `InvalidInput` names the column, key and rule."""
        try:
            values = json.loads(content)
        except ValueError as error:
            raise InvalidInput(f"the constraints are not JSON: {error}") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else type(values).__name__
            raise InvalidInput(f"the constraints have format {found!r}, but only {FORMAT} can be read")
        columns = values.pop("columns", {})
        del values["format"]
        if not isinstance(columns, dict):
            raise InvalidInput("the constraints' key 'columns' must map each column's name to its rules")
        _no_unknown(values, cls, "the constraints have")
        return cls(columns={name: _column(name, rules) for name, rules in columns.items()}, **values)


def _brief(column: ColumnConstraints) -> dict[str, Any]:
    usual = ColumnConstraints()
    return {name: value for name, value in asdict(column).items() if value != getattr(usual, name)}


def _column(name: str, rules: Any) -> ColumnConstraints:
    if not isinstance(rules, dict):
        raise InvalidInput(f"column {name!r}: its rules must be keys and values, not {rules!r}")
    _no_unknown(rules, ColumnConstraints, f"column {name!r} has")
    try:
        if isinstance(rules.get("domain"), list):
            rules = rules | {"domain": tuple(rules["domain"])}
        return ColumnConstraints(**rules)
    except InvalidInput as error:
        raise InvalidInput(f"column {name!r}: {error}") from None


def _no_unknown(values: Mapping[str, Any], kind: type[Any], where: str) -> None:
    known = {found.name for found in fields(kind)}
    if unknown := sorted(values.keys() - known):
        raise InvalidInput(f"{where} an unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
