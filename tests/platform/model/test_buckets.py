"""Batches are padded to powers of two, and a padded row is one that was asked."""

from __future__ import annotations

import pytest
import torch
from rayloop.platform.model.buckets import bucket_of, buckets, fill, padded


@pytest.mark.parametrize("most", [1, 2, 3, 64, 100, 256])
def test_every_number_of_rows_has_the_smallest_bucket_that_holds_it(most: int) -> None:
    known = buckets(most)
    assert list(known) == sorted(set(known), reverse=True)
    assert (known[0], known[-1]) == (most, 1)
    for rows in range(1, most + 1):
        assert bucket_of(rows, most) == min(bucket for bucket in known if bucket >= rows)
    assert bucket_of(most + 1, most) == most + 1
    assert bucket_of(0, most) == 0


def test_a_padded_tensor_repeats_its_last_row_and_leaves_the_given_one_alone() -> None:
    given = torch.tensor([[1, 2], [3, 4]])
    assert padded(given, 4).tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]
    same = padded(given, 2)
    same[0, 0] = 9
    assert given.tolist() == [[1, 2], [3, 4]]
    assert same.dtype == given.dtype
    assert padded(torch.tensor([True]), 3).tolist() == [True, True, True]


def test_a_buffer_keeps_nothing_of_the_batch_before() -> None:
    buffer = torch.full((4, 1), 7.0)
    fill(buffer, torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    fill(buffer, torch.tensor([[5.0]]))
    assert buffer.tolist() == [[5.0]] * 4
