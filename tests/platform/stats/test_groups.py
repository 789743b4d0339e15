"""Coarse groups follow the reference's mass and keep special slots apart."""

import numpy as np
from rayloop.platform.stats import Binning, coarse_groups, fine_groups, in_groups
from rayloop.platform.stats.groups import MAX_OWN_CATEGORIES, QUANTILE_GROUPS


def numeric(num_bins: int) -> Binning:
    return Binning("fractional", edges=tuple(map(float, range(num_bins + 1))))


def categories(num: int) -> Binning:
    return Binning("string", categories=tuple(map(str, range(num))))


def test_equal_bins_make_deciles_and_special_slots_stay_alone() -> None:
    counts = [1, 0, *[7] * 100, 0, 4, 3, 2]
    groups = coarse_groups(numeric(100), counts)
    assert in_groups(counts, groups).tolist() == [1, 0, *[70] * QUANTILE_GROUPS, 0, 4, 3, 2]


def test_a_frequent_value_takes_its_group() -> None:
    counts = [0, 0, *[1] * 10, 80, *[1] * 10, 0, 0, 0, 0]
    groups = coarse_groups(numeric(21), counts)
    assert in_groups(counts, groups).tolist() == [0, 0, 10, 80, 10, 0, 0, 0, 0]
    assert (np.diff(groups) >= 0).all()


def test_few_filled_bins_keep_their_own_group_and_empty_ones_go_with_the_next() -> None:
    counts = [0, 0, 90, 0, 1, 0, 1, 0, 0, 0, 0, 0]
    groups = coarse_groups(numeric(6), counts)
    assert in_groups(counts, groups).tolist() == [0, 0, 90, 1, 1, 0, 0, 0, 0]
    moved = [0, 0, 90, 5, 1, 0, 1, 7, 0, 0, 0, 0]
    assert in_groups(moved, groups).tolist() == [0, 0, 90, 6, 8, 0, 0, 0, 0]


def test_few_bins_and_no_rows() -> None:
    assert coarse_groups(numeric(2), [0, 0, 5, 5, 0, 0, 0, 0]).tolist() == list(range(8))
    assert len(coarse_groups(numeric(2), [0] * 8)) == 8
    assert coarse_groups(Binning("fractional", edges=(0.0,)), [0, 0, 0, 0, 3, 0]).tolist() == list(range(6))
    assert coarse_groups(categories(0), [0, 4]).tolist() == [0, 1]


def test_categories_keep_their_own_group_while_few() -> None:
    few = categories(MAX_OWN_CATEGORIES)
    assert coarse_groups(few, [9] * few.num_slots).tolist() == list(range(few.num_slots))


def test_many_categories_share_groups() -> None:
    many = categories(500)
    counts = [1_000] * MAX_OWN_CATEGORIES + [7] * (500 - MAX_OWN_CATEGORIES) + [0, 9]
    sums = in_groups(counts, coarse_groups(many, counts)).tolist()
    assert sums == [1_000] * MAX_OWN_CATEGORIES + [7 * 48] * QUANTILE_GROUPS + [0, 9]


def test_rare_categories_go_with_other() -> None:
    binning = categories(4)
    counts = [50, 5, 4, 1, 0, 2]
    assert in_groups(counts, coarse_groups(binning, counts)).tolist() == [50, 5, 5, 2]
    assert in_groups(counts, fine_groups(binning, counts)).tolist() == [50, 5, 5, 2]
    many = categories(100)
    counts = [*[10] * 60, *[1] * 40, 3, 0]
    assert in_groups(counts, coarse_groups(many, counts)).tolist()[-2:] == [43, 0]
    assert fine_groups(many, counts).tolist() == [*range(60), *[60] * 41, 61]


def test_numeric_bins_are_never_rare() -> None:
    assert fine_groups(numeric(2), [0, 0, 1, 1, 0, 0, 0, 0]).tolist() == list(range(8))
