"""Splits and deployments change as asked, with a ledger entry each, or stay as they were."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.state import Database, Deployment, Endpoints, Ledger
from rayloop.platform.traffic import Split, Variant

OPTIONS = {"replicas": 2, "cpus": 0.5}


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def endpoints(database: Database, ledger: Ledger) -> Endpoints:
    made = Endpoints(database, ledger)
    for version in (1, 2, 3):
        made.add_deployment(Deployment("churn", version, f"/artifacts/{version}", OPTIONS))
    return made


def actions(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.action, entry.subject) for entry in ledger.entries()]


def test_deployments_are_read_back_by_endpoint_and_version(endpoints: Endpoints) -> None:
    endpoints.add_deployment(Deployment("apple", 9, "s3://a", {}))
    assert [(found.endpoint, found.version) for found in endpoints.deployments()] == [
        ("apple", 9),
        ("churn", 1),
        ("churn", 2),
        ("churn", 3),
    ]
    assert endpoints.deployments("churn")[1] == Deployment("churn", 2, "/artifacts/2", OPTIONS)
    assert endpoints.deployments("nobody") == []


def test_the_same_deployment_again_changes_nothing(endpoints: Endpoints, ledger: Ledger) -> None:
    before = actions(ledger)
    assert before == [("deploy", "churn/1"), ("deploy", "churn/2"), ("deploy", "churn/3")]
    endpoints.add_deployment(endpoints.deployments("churn")[0])
    assert actions(ledger) == before
    endpoints.add_deployment(Deployment("churn", 1, "/artifacts/1", {"replicas": 5}))
    assert actions(ledger) == [*before, ("deploy", "churn/1")]
    assert endpoints.deployments("churn")[0].options == {"replicas": 5}


def test_a_split_needs_its_versions_deployed(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    before = actions(ledger)
    with pytest.raises(Conflict, match="churn version 7 is not deployed: run `rayloop deploy` first"):
        endpoints.set_split("churn", {1: 5_000, 9: 2_500, 7: 2_500}, "second")
    with pytest.raises(Conflict, match="other version 1 is not deployed"):
        endpoints.set_split("other", {1: 10_000}, "first")
    assert endpoints.split("churn").variants == (Variant(1, 10_000),)
    assert actions(ledger) == before


@pytest.mark.parametrize("weights", [{}, {1: 9_999}, {1: 10_001}, {1: -1, 2: 10_001}])
def test_a_split_that_breaks_a_rule_changes_nothing(
    endpoints: Endpoints, ledger: Ledger, weights: Mapping[int, int]
) -> None:
    before = actions(ledger)
    with pytest.raises(InvalidInput, match="split of 'churn'"):
        endpoints.set_split("churn", weights, "bad")
    with pytest.raises(NotFound):
        endpoints.split("churn")
    assert actions(ledger) == before


def test_revisions_count_up_for_each_endpoint(endpoints: Endpoints) -> None:
    endpoints.add_deployment(Deployment("apple", 1, "a", {}))
    made = [
        endpoints.set_split("churn", weights, "why") for weights in ({1: 10_000}, {1: 9_000, 2: 1_000}, {2: 10_000})
    ]
    assert [split.revision for split in made] == [1, 2, 3]
    assert endpoints.set_split("apple", {1: 10_000}, "why").revision == 1
    assert endpoints.split("churn") == made[-1] == Split("churn", (Variant(2, 10_000),), 3)
    assert [split.endpoint for split in endpoints.splits()] == ["apple", "churn"]


def test_the_ledger_tells_both_splits(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    endpoints.set_split("churn", {1: 9_000, 2: 1_000}, "canary")
    entry = ledger.entries()[-1]
    assert (entry.action, entry.subject) == ("split", "churn")
    assert entry.detail == {
        "before": {"1": 10_000},
        "after": {"2": 1_000, "1": 9_000},
        "reason": "canary",
        "revision": 2,
    }
    assert ledger.first_fault() is None


def test_an_unknown_endpoint_is_named(endpoints: Endpoints) -> None:
    for ask in (endpoints.split, endpoints.previous_weights):
        with pytest.raises(NotFound, match="no endpoint 'nobody' is served here"):
            ask("nobody")


def test_the_previous_weights_are_those_of_one_version_that_is_still_up(endpoints: Endpoints) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    with pytest.raises(Conflict, match="no earlier version that is still deployed to roll back to"):
        endpoints.previous_weights("churn")
    endpoints.set_split("churn", {2: 10_000}, "second")
    endpoints.set_split("churn", {2: 9_000, 3: 1_000}, "canary")
    assert endpoints.previous_weights("churn") == {2: 10_000}
    endpoints.set_split("churn", {3: 10_000}, "promoted")
    assert endpoints.previous_weights("churn") == {2: 10_000}
    endpoints.remove_deployment("churn", 2)
    assert endpoints.previous_weights("churn") == {1: 10_000}
    endpoints.remove_deployment("churn", 1)
    with pytest.raises(Conflict):
        endpoints.previous_weights("churn")


def test_a_version_with_traffic_stays(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.set_split("churn", {1: 9_000, 2: 1_000}, "canary")
    with pytest.raises(Conflict, match="churn version 2 still has traffic: move its share away first"):
        endpoints.remove_deployment("churn", 2)
    endpoints.remove_deployment("churn", 3)
    assert [found.version for found in endpoints.deployments("churn")] == [1, 2]
    assert actions(ledger)[-1] == ("undeploy", "churn/3")
    before = actions(ledger)
    endpoints.remove_deployment("churn", 3)
    assert actions(ledger) == before


def test_a_split_that_moved_meanwhile_is_not_overwritten(endpoints: Endpoints, ledger: Ledger) -> None:
    assert endpoints.set_split("churn", {1: 10_000}, "first", expected_revision=0).revision == 1
    before = actions(ledger)
    for expected in (0, 2):
        with pytest.raises(Conflict, match=f"at revision 1, not {expected}"):
            endpoints.set_split("churn", {2: 10_000}, "late", expected_revision=expected)
    assert (endpoints.split("churn").revision, actions(ledger)) == (1, before)
    assert endpoints.set_split("churn", {2: 10_000}, "seen", expected_revision=1).revision == 2
