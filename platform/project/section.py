"""What every section of the project file is: frozen, closed to unknown keys, with rules that name their key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class BrokenRule(ValueError):
    """A rule that several keys break together; `path` leads from the section that checks it to the one to change."""

    def __init__(self, rule: str, *path: str | int) -> None:
        super().__init__(rule, *path)
        self.rule, self.path = rule, path

    def __str__(self) -> str:
        return self.rule


class Section(BaseModel):
    """A frozen part of the project file that refuses unknown keys."""

    # An infinite number would come back from the database as null.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
