"""Texts become the same numbers whatever comes with them: bytes, or words that training rows taught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.feature import Feature
from rayloop.platform.model.schema import Schema
from rayloop.platform.model.sequence import SequenceTask
from rayloop.platform.model.target import Target
from rayloop.platform.model.vocabulary import fit_vocabulary, tokens_of, unknown_share, vocabulary_size, words

TEXT = Feature("x", "text", "BYTES")


def fit(*texts: str | None, **params: object) -> Feature:
    return fit_vocabulary(TEXT, pa.chunked_array([pa.array(texts, pa.string())]), params)


def test_bytes_are_numbered_from_one_and_cut() -> None:
    found = fit("a", length=4)
    assert (found.shape, found.categories, vocabulary_size(found)) == ((4,), (), 257)
    assert tokens_of(found, ["ab", "", None, "abcdef", "é"]).tolist() == [
        [98, 99, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [98, 99, 100, 101],
        [196, 170, 0, 0],
    ]
    assert tokens_of(found, ["\ud800"]).shape == (1, 4)  # JSON may hold half a character


def test_words_are_numbered_by_how_often_they_come() -> None:
    found = fit("The cat, the dog", None, "the cat", tokens="words", length=3, vocabulary=2)
    assert found.categories == ("the", "cat")
    assert vocabulary_size(found) == 4
    assert tokens_of(found, ["CAT dog the cat", "the"]).tolist() == [[2, 3, 1], [1, 0, 0]]
    assert unknown_share(found, "the bird") == 0.5
    assert unknown_share(found, "") is None
    assert words("Grün, 3!") == ["grün", ",", "3", "!"]


def built(length: int) -> tuple[Schema, Any]:
    schema = Schema((fit("a", length=length),), Target("label", "BOOL", (False, True)))
    torch.manual_seed(0)
    return schema, SequenceTask().build(schema, {"length": length, "width": 16}).eval()


def test_padding_changes_no_answer() -> None:
    (short_schema, short), (long_schema, long) = built(8), built(40)
    places = long.state_dict()["encoder.places"].clone()
    places[:9] = short.state_dict()["encoder.places"]
    long.load_state_dict({**short.state_dict(), "encoder.places": places})
    columns = {"x": np.array(["short", "", "longer"], dtype=object)}
    with torch.inference_mode():
        one = SequenceTask().predict(short, SequenceTask().encode(short_schema, columns))["probabilities"]
        other = SequenceTask().predict(long, SequenceTask().encode(long_schema, columns))["probabilities"]
    assert torch.allclose(one, other, atol=1e-6)
    assert bool(torch.isfinite(one).all())


def test_what_training_fixed_is_not_searched() -> None:
    schema = Schema((fit("a", length=8),), Target("label", "BOOL", (False, True)))
    with pytest.raises(InvalidInput, match=r"task.params.length can't be searched"):
        SequenceTask().build(schema, {"length": 9})
