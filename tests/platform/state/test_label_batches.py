"""Batches have numbers in the order in which they came, and one that came before is known."""

from __future__ import annotations

from rayloop.platform.state import Database, LabelBatch, LabelBatches


def test_a_batch_is_numbered_once(database: Database) -> None:
    batches = LabelBatches(database)
    first, is_new = batches.begin("churn", "a" * 64, 3, 10.0)
    assert (first, is_new) == (LabelBatch(1, "churn", "a" * 64, 3, 10.0), True)
    assert batches.begin("churn", "a" * 64, 3, 20.0) == (first, False)
    other, is_new = batches.begin("fraud", "a" * 64, 3, 20.0)
    assert (other.id, is_new) == (2, True)
    again, is_new = batches.begin("churn", "a" * 64, 3, 30.0, anew=True)
    assert (again.id, is_new) == (3, True)
    assert batches.begin("churn", "a" * 64, 3, 40.0) == (again, False)


def test_batches_of_an_endpoint_from_a_moment_or_another_on(database: Database) -> None:
    batches = LabelBatches(database)
    for place, digest in enumerate("abcd"):
        batches.begin("churn", digest * 64, 1, 10.0 * place)
    batches.begin("fraud", "a" * 64, 1, 0.0)
    assert [found.id for found in batches.batches("churn")] == [1, 2, 3, 4]
    assert [found.id for found in batches.batches("churn", since_s=20.0)] == [3, 4]
    assert [found.id for found in batches.batches("churn", after=1)] == [2, 3, 4]
    assert batches.batches("nobody") == []
