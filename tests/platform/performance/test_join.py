"""Labels find their predictions, whatever the number of parts; counts are of all rows, and memory is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.performance.join import Joined, join_labels
from rayloop.platform.performance.maturity import EDGES_D
from rayloop.platform.performance.outcomes import UNKNOWN_CLASS
from rayloop.platform.performance.windows import Grid

from .conftest import CLASSES, NOON_S, NUMBERS, World

GRID = Grid(NOON_S, 60.0)
LATER_S = NOON_S + 3_600


def join(world: World, numbers: set[int] | None = None, schema: Schema = CLASSES, **options: Any) -> dict[int, Joined]:
    versions = options.pop("versions", (1,))
    asked = {0} if numbers is None else numbers
    return join_labels(world.source(schema, versions), world.log, GRID, asked, LATER_S, **options)


def test_each_prediction_gets_the_label_of_its_request_and_row(world: World) -> None:
    world.capture([NOON_S, NOON_S, NOON_S + 59.999999], [0, 1, 1], ["a", "a", "b"], rows=[0, 1, 0])
    world.label(["a", "b"], [1, 0], NOON_S + 100, rows=[1, 0])
    found = join(world)[0]
    assert (found.predictions, found.labelled, found.share) == (3, 2, 1.0)
    np.testing.assert_array_equal(found.kept.target_N, [np.nan, 1, 0])
    np.testing.assert_array_equal(found.kept.predicted_N, [0, 1, 1])
    np.testing.assert_allclose(found.kept.scores_NK, [[0.8, 0.2], [0.2, 0.8], [0.2, 0.8]], atol=1e-6)
    assert found.kept.group_N[0] == found.kept.group_N[1] != found.kept.group_N[2]


def test_the_last_record_counts_and_the_first_one_says_when_a_label_came(world: World) -> None:
    world.capture([NOON_S], [1], ["a"])
    world.label(["a"], [1], NOON_S + 10)
    world.label(["a"], [0], NOON_S + 2_000)
    found = join(world)[0]
    assert (found.labelled, found.kept.target_N.tolist()) == (1, [0.0])
    (place,) = np.flatnonzero(found.delays.came_D)
    assert EDGES_D[place] <= 10 < EDGES_D[place + 1]


def test_windows_part_to_the_microsecond_and_what_lies_between_is_left_out(world: World) -> None:
    at_s = [NOON_S - 1e-6, NOON_S, NOON_S + 60 - 1e-6, NOON_S + 60, NOON_S + 120]
    world.capture(at_s, [0] * 5, list("abcde"))
    found = join(world, {0, 2, -1})
    assert {number: one.predictions for number, one in found.items()} == {-1: 1, 0: 2, 2: 1}
    assert join(world, set()) == {}


def test_shadows_and_failed_requests_are_no_predictions(world: World) -> None:
    world.capture([NOON_S], [1], ["a"])
    world.capture([NOON_S], [1], ["a"], variant="shadow", name="two")
    world.capture([NOON_S], [None], ["c"], name="three")
    world.label(["a", "c"], [1, 1], NOON_S + 10)
    found = join(world)[0]
    assert (found.predictions, found.labelled) == (1, 1)


def test_versions_are_joined_apart_or_together(world: World) -> None:
    world.capture([NOON_S], [1], ["a"], version=1)
    world.capture([NOON_S], [0], ["b"], version=2)
    world.label(["a", "b"], [1, 1], NOON_S + 10)
    assert join(world, versions=(2,))[0].kept.predicted_N.tolist() == [0.0]
    assert sorted(join(world, versions=(1, 2))[0].kept.predicted_N.tolist()) == [0.0, 1.0]


def test_a_label_that_is_no_class_is_counted_and_is_an_error(world: World) -> None:
    schema = Schema((Feature("a", "numeric", "FP64"),), Target("y", "BYTES", ("no", "yes")))
    world.capture([NOON_S] * 3, ["no", "yes", "yes"], list("abc"), schema=schema)
    world.label(["a", "b", "c"], ["no", "maybe", "yes"], NOON_S + 10)
    found = join(world, schema=schema)[0]
    assert (found.labelled, found.unknown_labels) == (3, 1)
    assert found.kept.target_N.tolist() == [0.0, UNKNOWN_CLASS, 1.0]


def test_booleans_and_numbers_sent_as_text_are_classes(world: World) -> None:
    schema = Schema((Feature("a", "numeric", "FP64"),), Target("y", "BOOL", (False, True)))
    world.capture([NOON_S] * 2, [True, False], list("ab"), schema=schema)
    world.label(["a", "b"], [1.0, 0.0], NOON_S + 10)
    assert join(world, schema=schema)[0].kept.target_N.tolist() == [1.0, 0.0]


def test_a_regression_has_features_with_texts_as_numbers(world: World) -> None:
    inputs = {"a": [1.0, None, 3.0], "city": ["Kiel", "Bonn", "Ulm"]}
    world.capture([NOON_S] * 3, [5.0, 6.0, 7.0], list("abc"), schema=NUMBERS, inputs=inputs)
    world.label(["a", "b"], [5.5, "none"], NOON_S + 10)
    found = join(world, schema=NUMBERS)[0]
    np.testing.assert_array_equal(found.kept.features_NF, [[1, 1], [np.nan, 0], [3, np.nan]])
    np.testing.assert_array_equal(found.kept.target_N, [5.5, np.nan, np.nan])
    assert (found.labelled, found.unknown_labels) == (2, 1)


@pytest.fixture
def many(world: World) -> World:
    """Two windows of 3,000 predictions; every second one has a label, and of those every third a correction."""
    for window in (0, 1):
        ids = [f"{window}-{place}" for place in range(3_000)]
        at_s = [NOON_S + 60 * window + place / 100 for place in range(3_000)]
        world.capture(at_s, [place % 2 for place in range(3_000)], ids, name=f"w{window}")
        world.label(ids[::2], [0] * 1_500, NOON_S + 300)
        world.label(ids[::6], [1] * 500, NOON_S + 600)
    return world


def test_parts_change_nothing(many: World) -> None:
    whole, parted = join(many, {0, 1}), join(many, {0, 1}, labels_at_once=700)
    for number in (0, 1):
        assert (whole[number].predictions, whole[number].labelled) == (3_000, 1_500)
        assert (parted[number].predictions, parted[number].labelled) == (3_000, 1_500)
        for name in ("time_N", "group_N", "target_N", "predicted_N"):
            np.testing.assert_array_equal(getattr(parted[number].kept, name), getattr(whole[number].kept, name))
        np.testing.assert_array_equal(parted[number].delays.came_D, whole[number].delays.came_D)
        assert np.nansum(whole[number].kept.target_N) == 500


def test_a_large_window_is_sampled_by_request_the_same_way_each_time(many: World) -> None:
    found = join(many, {0, 1}, most_kept=2_000)
    assert [found[number].predictions for number in (0, 1)] == [3_000, 3_000]
    for number in (0, 1):
        kept = found[number].kept
        assert found[number].share == 0.25  # 3,000 halved twice is below 1,000
        assert 600 < len(kept) <= 1_000
        labelled = ~np.isnan(kept.target_N)
        assert 0.42 < labelled.mean() < 0.58  # the sample is not of the labelled rows, nor against them
    again = join(many, {0, 1}, most_kept=2_000, labels_at_once=700)
    np.testing.assert_array_equal(again[0].kept.time_N, found[0].kept.time_N)
