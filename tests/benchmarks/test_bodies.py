"""The JSON body and the binary one hold the same numbers, as rayloop itself reads them."""

from __future__ import annotations

import json

import bodies
import numpy as np
import pytest


def test_binary_and_json_hold_the_same_numbers() -> None:
    (tensor,) = json.loads(bodies.v2(256))["inputs"]
    body, headers = bodies.v2_binary(256)
    raw = body[int(headers[bodies.LENGTH_HEADER]) :]
    assert tensor["shape"] == [256, 30]
    assert np.array_equal(np.array(tensor["data"], dtype="<f4"), np.frombuffer(raw, dtype="<f4"))


def test_the_first_row_is_the_same_however_many_there_are() -> None:
    assert bodies.table(256)[0] == bodies.table(1)[0]


def test_probabilities_are_read_out_of_every_answer() -> None:
    v2 = {"outputs": [{"name": "prediction", "data": [1]}, {"name": "probabilities", "data": [0.25, 0.75]}]}
    for answer in (v2, {"probabilities": [[0.25, 0.75]]}, [[0.25, 0.75]]):
        assert bodies.probabilities(answer) == [0.25, 0.75]


def test_probabilities_are_found_in_a_binary_answer() -> None:
    outputs = [{"name": "prediction", "parameters": {"binary_data_size": 8}}]
    outputs += [{"name": "probabilities", "parameters": {"binary_data_size": 8}}]
    head = json.dumps({"outputs": outputs}).encode()
    body = head + np.array([1], dtype="<i8").tobytes() + np.array([0.25, 0.75], dtype="<f4").tobytes()
    assert bodies.binary_probabilities(body, len(head)) == [0.25, 0.75]
    with pytest.raises(ValueError, match="has no output"):
        bodies.binary_probabilities(b'{"outputs":[]}', 14)


def test_answers_differ_by_number_and_by_length() -> None:
    assert not bodies.differ([0.25, 0.75], [0.25, 0.75001])
    assert bodies.differ([0.25, 0.75], [0.25, 0.76])
    assert bodies.differ([0.25], [0.25, 0.75])
