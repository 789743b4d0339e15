"""The most frequent texts keep their bound under any split, order and grouping of merges."""

from collections import Counter
from functools import reduce

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.stats import FrequentTexts, profile
from rayloop.platform.stats.frequent import SIZE


def of(texts: list[str]) -> FrequentTexts:
    counts = Counter(texts)
    return FrequentTexts.of(pa.array(list(counts), pa.string()), np.array(list(counts.values()), dtype=np.int64))


def check_bound(found: FrequentTexts, truth: Counter[str]) -> None:
    assert found.total == truth.total()
    assert len(found.counts) <= SIZE
    assert found.error <= found.total / (SIZE + 1)
    for text in truth.keys() | found.counts.keys():
        assert truth[text] - found.error <= found.counts.get(text, 0) <= truth[text]


def in_pairs(parts: list[FrequentTexts]) -> FrequentTexts:
    while len(parts) > 1:
        parts = [reduce(FrequentTexts.merge, parts[place : place + 2]) for place in range(0, len(parts), 2)]
    return parts[0]


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 2_000), st.floats(0.1, 3))
@settings(max_examples=40, deadline=None)
def test_the_bound_holds_under_any_merge(seed: int, num: int, width: int, skew: float) -> None:
    rng = np.random.default_rng(seed)
    weights = np.arange(1, width + 1) ** -skew
    texts = [f"t{place}" for place in rng.choice(width, 3_000, p=weights / weights.sum())]
    truth = Counter(texts)
    parts = [of(texts[place::num]) for place in rng.permutation(num)]
    for found in (reduce(FrequentTexts.merge, parts), in_pairs(parts), in_pairs(parts[::-1])):
        check_bound(found, truth)
        if len(truth) <= SIZE:
            assert (dict(found.counts), found.error) == (dict(truth), 0)


def test_few_texts_are_exact_and_in_order() -> None:
    found = of(["b", "a", "c", "c"]).merge(of(["a", "b", "d"]))
    assert list(found.counts.items()) == [("a", 2), ("b", 2), ("c", 2), ("d", 1)]
    assert (found.error, found.total) == (0, 7)


def test_nothing_is_neutral() -> None:
    found = of(["a"])
    assert found.merge(FrequentTexts()) == FrequentTexts().merge(found) == found


def test_a_frequent_text_among_a_million_is_found_in_bounded_memory() -> None:
    table = pa.table({"s": pa.concat_arrays([pa.array(np.arange(1_000_000).astype(str)), pa.array(["hot"] * 20_000)])})
    reference = profile({"s": np.array(["a", "b"])})
    column = profile(table, reference).columns["s"]
    assert column.other == 1_020_000
    assert next(iter(column.unseen.counts)) == "hot"
    assert column.unseen.counts["hot"] >= 20_000 - column.unseen.error
    assert column.unseen.error <= 1_020_000 / (SIZE + 1)
    assert abs(column.distinct.estimate - 1_000_001) < 0.13 * 1_000_000
    own = profile(table).columns["s"]
    assert len(own.binning.categories) == 1_000
    assert own.binning.categories[0] == "hot"
