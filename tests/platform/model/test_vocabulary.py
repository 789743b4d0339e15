"""Texts become the same numbers whatever comes with them: bytes, or words that training rows taught."""

from __future__ import annotations

from collections.abc import Callable

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
Said = Callable[..., Feature]


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


def test_padding_changes_no_answer() -> None:
    classes = Target("label", "BOOL", (False, True))
    answers = []
    for length in (8, 40):
        schema = Schema((fit("a", length=length),), classes)
        torch.manual_seed(0)
        module = SequenceTask().build(schema, {"length": length, "width": 16}).eval()
        if answers:
            state = {**module.state_dict(), **kept}
            state["encoder.places"][: len(places)] = places
            module.load_state_dict(state)
        kept = {name: tensor for name, tensor in module.state_dict().items() if name != "encoder.places"}
        places = module.state_dict()["encoder.places"].clone()
        inputs = SequenceTask().encode(schema, {"x": pa.array(["short", "", "longer"]).to_numpy(zero_copy_only=False)})
        answers.append(SequenceTask().predict(module, inputs)["probabilities"])
    assert torch.allclose(answers[0], answers[1], atol=1e-6)
    assert bool(torch.isfinite(answers[0]).all())


def test_what_training_fixed_is_not_searched() -> None:
    schema = Schema((fit("a", length=8),), Target("label", "BOOL", (False, True)))
    with pytest.raises(InvalidInput, match=r"task.params.length can't be searched"):
        SequenceTask().build(schema, {"length": 9})
