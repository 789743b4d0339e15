"""Reads `rayloop.yaml` and turns every fault in it into one sentence with line, key, value and rule."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import InvalidInput, NotFound
from .schema import Project
from .section import BrokenRule

FILE_NAME = "rayloop.yaml"


class Loader(yaml.SafeLoader):
    """Safe YAML whose numbers are those that people write: YAML 1.1 reads `1e-4` as text."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def find_project(path: Path | None = None) -> Path:
    """The project file: `path`, a folder that holds one, or the one in the working folder."""
    found = path or Path.cwd()
    if found.is_dir():
        found = found / FILE_NAME
    if not found.exists():
        raise NotFound(f"no project file at {found}: `rayloop init` writes one")
    return found.absolute()


def load_project(path: Path) -> Project:
    """Read and check one project file; the source in it becomes absolute."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"cannot read {path}: {reason}") from None
    project = parse_project(text, name=path.name)
    source = project.data.source
    if "://" not in source and not Path(source).is_absolute():
        data = project.data.model_copy(update={"source": str(path.parent.absolute() / source)})
        project = project.model_copy(update={"data": data})
    return project


def parse_project(text: str, name: str = FILE_NAME) -> Project:
    """Check the text of a project file.

    Raises InvalidInput for the first fault, and says how many more there are.
    """
    try:
        tree = yaml.compose(text, Loader=Loader)
        values = yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError) as error:  # a date of month 13 is a ValueError
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidInput(f"{name}{where}: not YAML: {problem}") from None
    if not isinstance(values, dict):
        raise InvalidInput(f"{name}: the file must hold keys and values, such as `name: churn`")
    try:
        return Project.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidInput(_sentence(dict(faults[0]), tree, name) + more) from None


def _sentence(fault: dict[str, Any], tree: yaml.Node | None, name: str) -> str:
    broken = fault.get("ctx", {}).get("error")
    below = broken.path if isinstance(broken, BrokenRule) else ()
    path = tuple(part for part in (*fault["loc"], *below) if not str(part).startswith("["))  # pydantic's own
    key = ".".join(str(part) for part in path)
    line = _line(tree, path)
    where = f"{name} line {line}" if line else name
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(path[-1]), _known_keys(path[:-1]), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(_known_keys(path[:-1]))}"
        return f"{where}: unknown key {key!r}{hint}"
    if fault["type"] == "missing":
        return f"{where}: the key {key!r} is missing"
    rule = fault["msg"].removeprefix("Value error, ")
    rule = rule[0].lower() + rule[1:]
    if fault["type"] == "model_type":
        rule = "it must hold keys and values"
    if fault["type"] == "value_error" and not isinstance(fault["input"], str):
        return f"{where}: {key}: {rule}"
    return f"{where}: {key} = {fault['input']!r}: {rule}"


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    """The keys that the section at `path` may hold."""
    model: Any = Project
    is_named = False  # the next part of the path is a name that the file gave, such as a searched setting's
    for part in path:
        if isinstance(part, int) or is_named:
            is_named = False
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        found = fields[part].annotation if part in fields else None
        named = [found, *getattr(found, "__args__", ())]
        candidates = [getattr(kind, "__origin__", kind) for kind in named]  # out of Annotated
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model is None:
            return []
        is_named = getattr(found, "__origin__", None) is dict
    return [field.alias or name for name, field in model.model_fields.items()]


def _line(node: yaml.Node | None, path: tuple[Any, ...]) -> int | None:
    """Line, from 1, of the key at `path`, or of the last part of it that is there."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                return line
            line, node = pairs[part][0].start_mark.line + 1, pairs[part][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
