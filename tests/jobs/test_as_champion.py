"""A pipeline trains with all that a search chose for the champion; the docs name the same settings as the code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.pipeline import Pipeline
from rayloop.jobs.training.plan import SEARCHED, Plan
from rayloop.platform.workspace import Workspace

CHOSEN: Mapping[str, Any] = {
    "epochs": 7,
    "batch_size": 48,
    "learning_rate": 0.3,
    "weight_decay": 0.25,
    "optimizer": "sgd",
    "momentum": 0.5,
    "schedule": "cosine",
    "warmup_steps": 11,
    "clip_norm": 2.5,
    "ema": 0.75,
}


@dataclass(frozen=True)
class Registry:
    """Knows one version, by the tags that it was registered with."""

    tags: Mapping[str, str]

    def version(self, model: str, number: int) -> Registry:
        return self


def pipeline_of(workspace: Workspace, known: Any, tags: Mapping[str, str], champion: int | None) -> Pipeline:
    workspace.__dict__["registry"] = Registry(tags)
    found = Pipeline(workspace, workspace.pipelines.create(known.project.name, "manual", "by hand"))
    found._done["snapshot"] = {"champion": champion}
    return found


def test_every_setting_that_a_search_may_choose_is_taken_over(workspace: Workspace, known: Any) -> None:
    own = Plan.of(known.project)
    assert set(CHOSEN) == SEARCHED, "give the new setting a value above"
    assert all(getattr(own, name) != value for name, value in CHOSEN.items())
    champion = Plan.of(known.project, {**CHOSEN, "hidden": [3, 5], "dropout": 0.4})
    tags = {"rayloop.plan": json.dumps(asdict(champion))}
    project = pipeline_of(workspace, known, tags, 1)._as_champion()
    assert Plan.of(project) == champion
    type(project).model_validate(project.model_dump(by_alias=True))  # and a file could say it


@pytest.mark.parametrize(("tags", "champion"), [({}, None), ({}, 1), ({"rayloop.plan": "{}"}, 1)])
def test_without_a_champion_or_its_plan_the_project_is_as_its_file_says(
    workspace: Workspace, known: Any, tags: Mapping[str, str], champion: int | None
) -> None:
    assert Plan.of(pipeline_of(workspace, known, tags, champion)._as_champion()) == Plan.of(known.project)


def test_the_docs_name_what_a_search_may_choose() -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text()
    (said,) = re.findall(r"- A search may choose (.*?); every other name", text, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == SEARCHED
