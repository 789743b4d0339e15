"""Labels, quantiles and steps ahead: what a target is learnt to be, and how its values are encoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.target import Target, fit_target
from rayloop.platform.project import Project

MakeProject = Callable[..., Project]
LABELS = {"kind": "multilabel"}
NUMBERS = {"kind": "regression"}


def fit(make_project: MakeProject, values: Any, **task: Any) -> Target:
    return fit_target(make_project(task=task), pa.chunked_array([pa.array(values)]))


def test_labels_are_sorted_and_marked(make_project: MakeProject) -> None:
    values = [["b", "a"], [], ["c"]]
    made = fit(make_project, values, **LABELS)
    assert (made.classes, made.is_multilabel, made.is_classes, made.datatype) == (("a", "b", "c"), True, False, "BOOL")
    assert made.encode(pa.chunked_array([values])).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert made.encode(pa.chunked_array([values[:1], values[1:]])).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    with pytest.raises(InvalidInput, match="target 'label' has the label 'd', which training never saw"):
        made.encode(pa.chunked_array([[["d"]]]))


def test_marks_are_labels_by_their_place(make_project: MakeProject) -> None:
    values = [[True, False], [False, False]]
    made = fit(make_project, values, **LABELS)
    assert made.classes == (0, 1)
    assert made.encode(pa.chunked_array([values])).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(InvalidInput, match="target 'label' has 3 labels here, but 2 before"):
        made.encode(pa.chunked_array([[[True, False, True]]]))


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        (["a", "b"], LABELS, "target 'label' has type string: task.kind multilabel needs a list"),
        ([[0.5], [1.5]], LABELS, "task.kind multilabel needs a list of texts or whole numbers"),
        ([["a"], ["a"]], LABELS, "target 'label' has 1 labels in the training rows; it must have 2 to 1000"),
        ([["a", None], ["b"]], LABELS, "has a null among its labels; a row without labels has an empty list"),
        ([1.0, math.inf], NUMBERS, "target 'label' holds inf; each value must be a finite number"),
        ([1.0, None], NUMBERS, "target 'label' holds nan; each value must be a finite number"),
        ([[[1.0]], [[2.0]]], NUMBERS, "a row's target is one list of numbers at most"),
        (["a", "b"], {"params": {"quantiles": [0.5]}}, "task.params.quantiles needs task.kind regression"),
    ],
)
def test_a_target_of_another_type_is_refused(
    make_project: MakeProject, values: Any, task: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        fit(make_project, values, **task)
    assert said in str(error.value)


@pytest.mark.parametrize("levels", [[0.5, 0.1], [0.5, 0.5], [0.0, 0.5], [1.0], ["0.5"], 0, "0.5", [1]])
def test_levels_must_ascend_between_0_and_1(make_project: MakeProject, levels: Any) -> None:
    with pytest.raises(InvalidInput, match=r"task.params.quantiles = .*: it must be a list of numbers between 0 and 1"):
        fit(make_project, [1.0, 2.0], **NUMBERS, params={"quantiles": levels})


def test_steps_may_be_missing(make_project: MakeProject) -> None:
    values = [[1.0, 3.0], [5.0, math.nan]]
    made = fit(make_project, values, **NUMBERS)
    assert (made.steps, made.mean) == (2, 3.0)
    assert made.encode(pa.chunked_array([values]))[0].tolist() == [1.0, 3.0]
    assert fit(make_project, [[1.0], [2.0]], **NUMBERS).encode(pa.chunked_array([[[1.0], [2.0]]])).tolist() == [1, 2]
