"""Owns how a text becomes numbers: its bytes, or its words of a vocabulary that training rows taught."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InvalidInput
from .feature import Feature
from .options import Options

PARAMS: Mapping[str, Any] = {"tokens": "bytes", "length": 256, "vocabulary": 10_000}
PADDING = 0
NUM_BYTES = 256
LONGEST_WORD = 64
"""Characters of a word that are looked at."""

_WORD = re.compile(r"\w+|[^\w\s]")

# N = rows, L = places


def words(text: str) -> list[str]:
    """Words and signs, without case.

    >>> words("Don't, twice.")
    ['don', "'", 't', ',', 'twice', '.']
    """
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.lower())]


def fit_vocabulary(feature: Feature, values: pa.ChunkedArray, params: Mapping[str, Any]) -> Feature:
    """The feature with its length as shape and, for words, the most frequent ones as categories.

    Raises InvalidInput where a parameter breaks its rule, or where no text has a word.
    """
    options = Options("sequence", PARAMS, {name: value for name, value in params.items() if name in PARAMS})
    length, most = options.count("length"), options.count("vocabulary")
    if options.choice("tokens", ("bytes", "words")) == "bytes":
        return replace(feature, shape=(length,))
    counts = Counter(word for text in values.cast(pa.string()).to_pylist() if text is not None for word in words(text))
    if not counts:
        raise InvalidInput(f"column {feature.name!r} has no word in the training rows")
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    return replace(feature, shape=(length,), categories=tuple(frequent))


def vocabulary_size(feature: Feature) -> int:
    """Numbers that `tokens_of` may give: padding, then bytes; or padding, words, and one for any other word."""
    return 1 + (len(feature.categories) + 1 if feature.categories else NUM_BYTES)


def tokens_of(feature: Feature, texts: Sequence[object]) -> NDArray[np.int32]:
    """Numbers (N, L) of the first tokens of each text, padded with 0 to the feature's length.

    L is the same whatever rows come together, so that a row's answer does not hang on its neighbours.
    """
    (length,) = feature.shape
    tokens_NL = np.zeros((len(texts), length), dtype=np.int32)
    for row, text in enumerate(texts):
        numbers = _numbers(feature, text, length)
        tokens_NL[row, : len(numbers)] = numbers
    return tokens_NL


def unknown_share(feature: Feature, text: object) -> float | None:
    """The share of a text's words that training never saw; None where it has no word."""
    found = words(text) if isinstance(text, str) else []
    return sum(word not in feature.places for word in found) / len(found) if found else None


def _numbers(feature: Feature, text: object, length: int) -> Sequence[int] | NDArray[np.int32]:
    if not isinstance(text, str):  # a gap
        return []
    if not feature.categories:
        whole = text[:length].encode(errors="replace")[:length]  # a character has a byte at least
        return np.frombuffer(whole, dtype=np.uint8).astype(np.int32) + 1
    unknown = len(feature.categories) + 1
    return [feature.places.get(word, unknown) for word in words(text)[:length]]
