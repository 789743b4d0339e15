"""Splits and deployments change as asked, with a ledger entry each, or stay as they were."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.state import Database, Deployment, Endpoints, Ledger
from rayloop.platform.traffic import Shadow, Split, Variant

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


def test_another_number_of_replicas_is_an_entry_and_leaves_the_rest(endpoints: Endpoints, ledger: Ledger) -> None:
    before, after = endpoints.scale_deployment("churn", 2, 5)
    assert before == Deployment("churn", 2, "/artifacts/2", OPTIONS)
    assert after == Deployment("churn", 2, "/artifacts/2", {**OPTIONS, "replicas": 5})
    assert endpoints.deployments("churn")[1] == after
    entry = ledger.entries()[-1]
    assert (entry.action, entry.subject, entry.detail) == ("scale", "churn/2", {"before": 2, "after": 5})
    count = len(ledger.entries())
    assert endpoints.scale_deployment("churn", 2, 5) == (after, after)
    assert len(ledger.entries()) == count


def test_what_is_not_there_or_scales_by_itself_is_not_scaled(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.add_deployment(Deployment("churn", 3, "/artifacts/3", {"autoscale": {"min": 0, "max": 4}}))
    before = (endpoints.deployments(), actions(ledger))
    with pytest.raises(NotFound, match="churn version 9 is not deployed"):
        endpoints.scale_deployment("churn", 9, 1)
    with pytest.raises(Conflict, match="churn version 3 scales by itself, from 0 to 4 replicas: change serve"):
        endpoints.scale_deployment("churn", 3, 1)
    assert (endpoints.deployments(), actions(ledger)) == before


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


ORIGIN = {"model": "models:/iris/4", "source": "/mlruns/4", "sha256": "ab" * 32}


def test_a_model_given_by_name_is_kept_with_its_origin(endpoints: Endpoints, ledger: Ledger) -> None:
    wanted = Deployment("iris", 4, "/store/models/ab", {**OPTIONS, "origin": ORIGIN})
    endpoints.add_deployment(wanted)
    assert endpoints.deployments("iris") == [wanted]
    assert endpoints.deployments("iris")[0].origin == ORIGIN
    assert ledger.entries()[-1].detail == {"artifact": "/store/models/ab", **ORIGIN}
    assert endpoints.is_foreign("iris")
    assert not endpoints.is_foreign("churn")
    assert not endpoints.is_foreign("nobody")


def test_a_projects_versions_and_other_models_never_share_a_name(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.add_deployment(Deployment("iris", 4, "/m", {"origin": ORIGIN}))
    before = actions(ledger)
    with pytest.raises(Conflict, match="endpoint 'churn' serves a project: choose another name"):
        endpoints.add_deployment(Deployment("churn", 9, "/m", {"origin": ORIGIN}))
    with pytest.raises(Conflict, match="endpoint 'iris' serves models given by --model"):
        endpoints.add_deployment(Deployment("iris", 4, "/artifacts/4", OPTIONS))
    assert actions(ledger) == before


def test_the_next_number_is_above_all_that_ever_served(endpoints: Endpoints) -> None:
    assert endpoints.next_version("nobody") == 1
    assert endpoints.next_version("churn") == 4
    endpoints.set_split("churn", {3: 10_000}, "first")
    endpoints.set_split("churn", {1: 10_000}, "second")
    endpoints.remove_deployment("churn", 3)
    assert endpoints.next_version("churn") == 4


def test_shadows_are_a_new_revision_with_the_weights_kept(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    made = endpoints.set_shadows("churn", {2: 10_000, 3: 500}, "look at both")
    assert made == Split("churn", (Variant(1, 10_000),), 2, (Shadow(3, 500), Shadow(2, 10_000)))
    assert endpoints.split("churn") == made
    entry = ledger.entries()[-1]
    assert (entry.action, entry.subject) == ("shadow", "churn")
    assert entry.detail == {
        "before": {},
        "after": {"2": 10_000, "3": 500},
        "reason": "look at both",
        "revision": 2,
    }
    ended = endpoints.set_shadows("churn", {}, "seen enough")
    assert (ended.revision, ended.shadows) == (3, ())
    assert ledger.entries()[-1].detail["before"] == {"2": 10_000, "3": 500}


def test_shadows_that_break_a_rule_change_nothing(endpoints: Endpoints, ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no endpoint 'churn' is served here"):
        endpoints.set_shadows("churn", {2: 10_000}, "too early")
    kept = endpoints.set_split("churn", {1: 9_000, 2: 1_000}, "first")
    before = actions(ledger)
    with pytest.raises(Conflict, match="churn version 2 has traffic itself: it can't be a shadow"):
        endpoints.set_shadows("churn", {2: 10_000}, "has traffic")
    with pytest.raises(Conflict, match="churn version 9 is not deployed: run `rayloop deploy` first"):
        endpoints.set_shadows("churn", {9: 10_000}, "not there")
    with pytest.raises(InvalidInput, match="a shadow's share must lie in"):
        endpoints.set_shadows("churn", {3: 0}, "nothing")
    assert endpoints.split("churn") == kept
    assert actions(ledger) == before


def test_a_shadow_stays_through_a_split_until_it_gets_traffic(endpoints: Endpoints, ledger: Ledger) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    endpoints.set_shadows("churn", {2: 10_000, 3: 500}, "look")
    assert endpoints.set_split("churn", {1: 5_000, 2: 5_000}, "canary").shadows == (Shadow(3, 500),)
    assert ledger.entries()[-1].detail == {
        "before": {"1": 10_000},
        "after": {"1": 5_000, "2": 5_000},
        "shadows_before": {"2": 10_000, "3": 500},
        "shadows_after": {"3": 500},
        "reason": "canary",
        "revision": 3,
    }
    assert endpoints.set_split("churn", {2: 10_000}, "promoted").shadows == (Shadow(3, 500),)
    assert endpoints.split("churn").revision == 4
    assert ledger.first_fault() is None


def test_a_shadow_stays_up(endpoints: Endpoints) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    endpoints.set_shadows("churn", {2: 10_000}, "look")
    with pytest.raises(Conflict, match="churn version 2 is a shadow: take it out by `rayloop shadow churn` first"):
        endpoints.remove_deployment("churn", 2)
    endpoints.set_shadows("churn", {}, "seen")
    endpoints.remove_deployment("churn", 2)
    assert [found.version for found in endpoints.deployments("churn")] == [1, 3]


def test_a_roll_back_sees_through_a_change_of_shadows(endpoints: Endpoints) -> None:
    endpoints.set_split("churn", {1: 10_000}, "first")
    endpoints.set_split("churn", {2: 10_000}, "second")
    endpoints.set_shadows("churn", {1: 10_000}, "the old one looks on")
    assert endpoints.previous_weights("churn") == {1: 10_000}
    assert endpoints.set_split("churn", {1: 10_000}, "rollback").shadows == ()


def test_a_split_that_moved_meanwhile_is_not_overwritten(endpoints: Endpoints, ledger: Ledger) -> None:
    assert endpoints.set_split("churn", {1: 10_000}, "first", expected_revision=0).revision == 1
    before = actions(ledger)
    for expected in (0, 2):
        with pytest.raises(Conflict, match=f"at revision 1, not {expected}"):
            endpoints.set_split("churn", {2: 10_000}, "late", expected_revision=expected)
    assert (endpoints.split("churn").revision, actions(ledger)) == (1, before)
    assert endpoints.set_split("churn", {2: 10_000}, "seen", expected_revision=1).revision == 2
