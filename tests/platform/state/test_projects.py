"""A project comes back as it was saved, with its snapshots in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rayloop.platform.errors import NotFound
from rayloop.platform.project import Project, parse_project, template
from rayloop.platform.state import Database, Projects

MakeProject = Callable[..., Project]


@pytest.fixture
def projects(database: Database) -> Projects:
    return Projects(database)


def test_a_project_survives_the_database(projects: Projects) -> None:
    for made in (parse_project(template("churn")), parse_project(template("price", kind="regression"))):
        projects.save(made, "c" * 64)
        assert projects.load(made.name) == (made, "c" * 64)


def test_the_newest_saving_counts(projects: Projects, make_project: MakeProject) -> None:
    projects.save(make_project(), "old")
    projects.save(make_project(train={"epochs": 3}), "new")
    found, code = projects.load("churn")
    assert (found.train.epochs, code) == (3, "new")


def test_an_unknown_project_is_named(projects: Projects) -> None:
    with pytest.raises(NotFound, match="no project 'churn' is known here: run `rayloop data add` in its folder first"):
        projects.load("churn")
    with pytest.raises(NotFound, match="project 'churn' has no snapshot: run `rayloop data add` first"):
        projects.latest_snapshot("churn")
    assert projects.snapshots("churn") == []


def test_a_project_is_found_by_its_endpoint(projects: Projects, make_project: MakeProject) -> None:
    with pytest.raises(NotFound, match="no project serves an endpoint 'x'; known: none"):
        projects.named_by_endpoint("x")
    projects.save(make_project(), "c")
    projects.save(make_project(serve={"endpoint": "scores"}).model_copy(update={"name": "fraud"}), "c")
    assert projects.named_by_endpoint("scores") == "fraud"
    assert projects.named_by_endpoint("churn") == "churn"
    with pytest.raises(NotFound, match="no project serves an endpoint 'fraud'; known: churn, scores"):
        projects.named_by_endpoint("fraud")


def test_the_snapshot_added_last_is_the_newest(projects: Projects) -> None:
    for digest in ("a", "b", "c"):
        projects.add_snapshot("churn", digest, 10)
    projects.add_snapshot("fraud", "a", 7)
    projects.add_snapshot("churn", "a", 10)
    assert [found.digest for found in projects.snapshots("churn")] == ["b", "c", "a"]
    assert projects.latest_snapshot("churn").digest == "a"
    assert [(found.digest, found.rows) for found in projects.snapshots("fraud")] == [("a", 7)]
