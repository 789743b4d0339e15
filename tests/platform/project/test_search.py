"""The search section: what goes together, and one sentence for what does not."""

from __future__ import annotations

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import parse_project

HEAD = "name: churn\ndata: {source: data.csv, target: left}\n"
RATE = "space: {learning_rate: {loguniform: [0.001, 0.1]}}"
TWO = "space: {learning_rate: {loguniform: [0.001, 0.1]}, dropout: {uniform: [0, 0.5]}}"
SIX = "space: {a: {choice: [1, 2, 3]}, b: {int: [0, 1]}}"


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        (
            f"{{searcher: grid, {RATE}}}",
            "search.space.learning_rate: loguniform has no end of values: a grid needs choice or int",
        ),
        (
            f"{{searcher: grid, trials: 5, {SIX}}}",
            "search.trials: 5 is less than the grid has points: raise it, or narrow the space",
        ),
        (
            f"{{searcher: cma-es, {RATE}}}",
            "search.searcher: cma-es needs two ranges of numbers without a condition, and the space has 1: take tpe",
        ),
        (
            f"{{searcher: cma-es, objectives: [accuracy, wall_seconds], {TWO}}}",
            "search.searcher: cma-es has one objective: take tpe for several",
        ),
        (
            f"{{searcher: random, warm_start: true, {RATE}}}",
            "search.warm_start: true is of no use to search.searcher random: it learns nothing",
        ),
        (
            f"{{scheduler: pbt, trials: 1, {RATE}}}",
            "search.trials: pbt needs at least 2 trials, which learn from each other",
        ),
        (
            "{scheduler: pbt, space: {a: {choice: [1, 2]}}}",
            "search.perturb: pbt needs a setting to change: put one of learning_rate, weight_decay, "
            "batch_size into the space, or name others",
        ),
        (
            f"{{scheduler: pbt, perturb: [width], {RATE}}}",
            "search.perturb: 'width' is not a parameter of search.space",
        ),
        (f"{{perturb: [learning_rate], {RATE}}}", "search.perturb: needs search.scheduler pbt"),
        (
            "{objectives: [auk]}",
            "search.objectives.0: 'auk' can't be the first objective: accuracy, precision, recall, f1, auc, log_loss",
        ),
        (
            "{objectives: [wall_seconds]}",
            "search.objectives.0: 'wall_seconds' can't be the first objective: accuracy, precision, "
            "recall, f1, auc, log_loss",
        ),
        (
            "{objectives: [auc, gpu_seconds]}",
            "search.objectives.1: 'gpu_seconds' is 0 without train.gpu: name cpu_seconds",
        ),
        ("{objectives: [auc, auc]}", "search.objectives: must not name one twice"),
        ("{gpus_per_trial: 0.5}", "search.gpus_per_trial: needs train.gpu: true"),
        ("{gpus_per_trial: 1.5}", "search.gpus_per_trial: 1.5 must be a whole number, or a fraction below 1"),
        ("{searcher: tpee}", "search.searcher = 'tpee': input should be 'tpe', 'cma-es', 'random' or 'grid'"),
    ],
)
def test_a_fault_is_one_sentence(section: str, fault: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_project(f"{HEAD}search: {section}")
    assert str(raised.value) == f"rayloop.yaml line 3: {fault}"


@pytest.mark.parametrize(
    "section",
    [
        f"{{searcher: grid, trials: 6, {SIX}}}",
        f"{{searcher: cma-es, warm_start: true, {TWO}}}",
        f"{{scheduler: none, objectives: [auc, cpu_seconds, accuracy], tolerance: 0.01, {RATE}}}",
        f"{{scheduler: median, searcher: random, {RATE}}}",
    ],
)
def test_what_goes_together(section: str) -> None:
    assert parse_project(f"{HEAD}search: {section}").search.space


def test_pbt_changes_what_the_optimizer_reads_unless_told_otherwise() -> None:
    project = parse_project(f"{HEAD}search: {{scheduler: pbt, {TWO}}}")
    assert project.search.perturbed == ("learning_rate",)
    project = parse_project(f"{HEAD}search: {{scheduler: pbt, perturb: [dropout], {TWO}}}")
    assert project.search.perturbed == ("dropout",)


def test_gpu_seconds_can_be_an_objective_where_there_are_gpus() -> None:
    project = parse_project(
        f"{HEAD}train: {{gpu: true}}\nsearch: {{objectives: [auc, gpu_seconds], gpus_per_trial: 2}}"
    )
    assert project.search.objectives == ("auc", "gpu_seconds")
