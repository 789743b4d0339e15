"""Binnings refuse what is no binning, and survive JSON."""

import json
import pickle

import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Basis, Binning

BASIS = Basis((1.0, 2.0), 0.5, 0.1, 0.2)
ALL = [
    Binning("fractional", edges=(0.0, 0.1, 1 / 3, 1e308)),
    Binning("integral", edges=(0.0,)),
    Binning("zoned timestamp", edges=(-1.0, 1.0), is_discrete=True),
    Binning("string", categories=("b", "a", "ü", "")),
    Binning("string"),
    Binning("boolean", categories=("false", "true"), is_discrete=True),
    Binning("vector", edges=(0.0, 1.0), basis=BASIS),
]


@pytest.mark.parametrize("binning", ALL, ids=lambda binning: binning.type)
def test_round_trips(binning: Binning) -> None:
    assert Binning.from_dict(json.loads(json.dumps(binning.to_dict()))) == binning
    assert pickle.loads(pickle.dumps(binning)) == binning


def test_slots_of_numbers_and_of_texts() -> None:
    numbers = Binning("fractional", edges=(0.0, 1.0, 2.0))
    assert (numbers.is_ordered, numbers.num_bins, numbers.num_value_slots, numbers.num_slots) == (True, 2, 6, 8)
    assert numbers.first_bin == 2
    texts = Binning("string", categories=("a", "b"))
    assert (texts.is_ordered, texts.num_bins, texts.num_value_slots, texts.num_slots) == (False, 2, 3, 4)
    assert texts.first_bin == 0


@pytest.mark.parametrize(
    "values",
    [
        {"type": "fractional"},
        {"type": "fractional", "edges": (1.0, 1.0)},
        {"type": "fractional", "edges": (2.0, 1.0)},
        {"type": "fractional", "edges": (0.0, np.inf)},
        {"type": "fractional", "edges": (0.0, np.nan)},
        {"type": "fractional", "edges": (0.0,), "categories": ("a",)},
        {"type": "fractional", "edges": (0.0,), "basis": BASIS},
        {"type": "vector", "edges": (0.0,)},
        {"type": "string", "categories": ("a", "a")},
        {"type": "string", "edges": (0.0,)},
        {"type": "ordinal"},
    ],
)
def test_broken_binnings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Binning(**values)  # type: ignore[arg-type]
