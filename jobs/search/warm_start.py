"""Finds what earlier searches of the same project can tell a new one; it reads their manifests alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...platform.project import Project
from ...platform.project.space import contains
from .manifest import Manifest
from .objectives import Objective, is_whole
from .trial import Trial


def earlier_trials(
    searches: Iterable[Manifest], project: Project, objectives: Sequence[Objective], key: str
) -> list[Trial]:
    """The ended trials with values of searches of this project for the same objectives, if the space contains them.

    `searches` are in their order in time; those after the search itself are not earlier ones, also after a restart.
    """
    wanted = [objective.name for objective in objectives]
    found = []
    for manifest in searches:
        if manifest.key == key:
            break
        terms = manifest.terms()
        if terms["name"] != project.name or terms["objectives"] != wanted or terms["task"] != _task(project):
            continue
        found += [
            trial
            for trial in manifest.trials()
            if is_whole(trial, objectives) and not trial.taken and contains(project.search.space, trial.settings)
        ]
    return found


def _task(project: Project) -> object:
    return project.task.model_dump(mode="json", by_alias=True)
