"""A manifest: the same terms go on, others are refused by name, trials come back, and the end removes checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.search.manifest import Manifest, searches, terms_of
from rayloop.platform.data import Store
from rayloop.platform.errors import Conflict

TERMS = {"name": "toy", "search": {"trials": 8, "space": {"a": 1}}, "train": {"epochs": 3}}


def test_the_same_terms_go_on_and_others_are_refused(manifest: Manifest) -> None:
    assert not manifest.begin(TERMS)
    assert manifest.begin(TERMS)
    with pytest.raises(Conflict) as raised:
        manifest.begin({**TERMS, "search": {"trials": 16, "space": {"a": 1}}})
    assert str(raised.value) == (
        "search 'key' was begun with search.trials = 8, and it is 16 now: take another key, or the settings that it "
        "was begun with"
    )
    with pytest.raises(Conflict, match=r"search\.space\.b = None, and it is 2 now"):
        manifest.begin({**TERMS, "search": {"trials": 8, "space": {"a": 1, "b": 2}}})


def test_terms_hold_what_changes_numbers_and_nothing_else(known: Any, make_toy: Any, tmp_path: Path) -> None:
    def terms(**sections: Any) -> dict[str, Any]:
        project = make_toy.make(30, **sections).project
        return terms_of(project, known.snapshot, tmp_path)

    base = terms()
    assert terms(search={"concurrent": 7}) == base
    assert terms(serve={"cpus": 2}) == base
    assert terms(train={"max_failures": 9}) == base
    for other in (
        {"search": {"trials": 9}},
        {"train": {"seed": 1}},
        {"params": {"hidden": [8]}},
        {"validate": {"metric": "auc"}},
        {"data": {"ignore": ["b"]}},
    ):
        assert terms(**other) != base


def test_the_code_of_a_users_task_is_one_of_the_terms(known: Any, make_toy: Any, tmp_path: Path) -> None:
    project = make_toy.make(30).project
    own = project.model_copy(update={"task": project.task.model_copy(update={"use": "mine:Task"})})
    (tmp_path / "mine.py").write_text("A = 1\n")
    before = terms_of(own, known.snapshot, tmp_path)
    assert terms_of(own, known.snapshot, tmp_path) == before
    (tmp_path / "mine.py").write_text("A = 2\n")
    assert terms_of(own, known.snapshot, tmp_path) != before
    assert "code" not in terms_of(project, known.snapshot, tmp_path)


def test_trials_come_back_by_number(manifest: Manifest, make_trial: Any) -> None:
    trials = [make_trial(number) for number in (11, 2, 0)]
    for trial in trials:
        manifest.save(trial)
    assert manifest.trials() == trials[::-1]
    assert Manifest(Store(manifest.folder), "other").trials() == []


def test_the_end_keeps_trials_and_removes_checkpoints(manifest: Manifest, make_trial: Any) -> None:
    manifest.begin(TERMS)
    manifest.save(make_trial(0))
    checkpoint = Path(manifest.folder) / "ray" / "00000-x" / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    assert manifest.has(str(checkpoint))
    assert not manifest.has("")
    assert manifest.result() is None
    manifest.end({"version": 3})
    assert not manifest.has(str(checkpoint))
    assert manifest.result() == {"version": 3}
    assert len(manifest.trials()) == 1


def test_searches_are_listed_in_the_order_of_their_beginning(store: Store) -> None:
    assert searches(store) == []
    for key in ("zebra", "ant"):
        Manifest(store, key).begin(TERMS)
    assert [found.key for found in searches(store)] == ["zebra", "ant"]
