"""What the verbs of the command line share: the Workspace that each is handed. It loads no room until a verb runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import click


def with_workspace(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the verb a Workspace made of the options before it."""

    @click.pass_context
    def wrapped(ctx: click.Context, /, *arguments: Any, **options: Any) -> Any:
        from ..platform.settings import Settings
        from ..platform.workspace import Workspace

        return verb(Workspace(Settings.load(**ctx.obj)), *arguments, **options)

    return update_wrapper(wrapped, verb)
