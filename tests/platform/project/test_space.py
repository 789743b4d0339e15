"""A space: what exists beside what, what belongs to it, the points of a grid, and a sentence for each fault."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import parse_project
from rayloop.platform.project.space import Space, contains, grid, in_order

HEAD = "name: churn\ndata: {source: data.csv, target: left}\n"


def space(**parameters: Any) -> Space:
    return TypeAdapter(Space).validate_python(parameters)


DEEP = space(
    dropout={"choice": [0.1, 0.2], "when": {"depth": [3, 4]}},
    depth={"int": [2, 4], "when": {"kind": "deep"}},
    kind={"choice": ["plain", "deep"]},
)


def test_parents_come_before_their_children() -> None:
    assert in_order(DEEP) == ["kind", "depth", "dropout"]


def test_a_grid_has_each_point_once_and_no_parameter_without_its_condition() -> None:
    assert list(grid(DEEP)) == [
        {"kind": "plain"},
        {"kind": "deep", "depth": 2},
        {"kind": "deep", "depth": 3, "dropout": 0.1},
        {"kind": "deep", "depth": 3, "dropout": 0.2},
        {"kind": "deep", "depth": 4, "dropout": 0.1},
        {"kind": "deep", "depth": 4, "dropout": 0.2},
    ]


@pytest.mark.parametrize(
    ("settings", "is_in"),
    [
        ({"kind": "plain"}, True),
        ({"kind": "deep", "depth": 2}, True),
        ({"kind": "deep", "depth": 3, "dropout": 0.1}, True),
        ({"kind": "deep", "depth": 3}, False),  # dropout exists there
        ({"kind": "plain", "depth": 2}, False),  # depth does not
        ({"kind": "deep", "depth": 5, "dropout": 0.1}, False),
        ({"kind": "deep", "depth": 3, "dropout": 0.15}, False),
        ({"kind": "deep", "depth": 2.5}, False),
        ({"kind": "deep", "depth": 2, "width": 8}, False),
        ({}, False),
    ],
)
def test_what_a_space_contains(settings: dict[str, Any], is_in: bool) -> None:
    assert contains(DEEP, settings) is is_in


def test_a_truth_value_is_not_the_number_one() -> None:
    found = space(flag={"choice": [True, False]})
    assert contains(found, {"flag": True})
    assert not contains(found, {"flag": 1})


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        (
            "a: {int: [1, 2], when: {kidn: plain}}",
            "a.when.kidn: 'kidn' is not a parameter of search.space; did you mean 'kind'?",
        ),
        ("a: {int: [1, 2], when: {kind: dep}}", "a.when.kind: 'kind' is never 'dep': choice ['plain', 'deep']"),
        ("a: {int: [1, 2], when: {rate: 1}}", "a.when.rate: 'rate' is a range of numbers: name one of choice or int"),
        ("a: {int: [1, 2], when: {a: 1}}", "a.when.a: can't depend on itself"),
        ("a: {int: [1, 2], when: {kind: []}}", "a.when.kind: must name a value"),
        ("a: {int: [1, 2], uniform: [0, 1]}", "a: must hold exactly one of choice, uniform, loguniform, int"),
        (
            "a: {int: [1, 2], when: {b: 1}}, b: {int: [1, 2], when: {a: 1}}",
            "a.when: a, b depend on each other",
        ),
        ("epochs: {int: [1, 2]}", "epochs: can't be searched: search.epochs bounds every trial"),
    ],
)
def test_a_broken_condition_is_one_sentence(parameters: str, fault: str) -> None:
    head = "search: {space: {kind: {choice: [plain, deep]}, rate: {uniform: [0, 1]}, "
    with pytest.raises(InvalidInput) as raised:
        parse_project(HEAD + head + parameters + "}}")
    assert str(raised.value) == f"rayloop.yaml line 3: search.space.{fault}"
