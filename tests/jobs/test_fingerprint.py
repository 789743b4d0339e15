"""Equal bits have one hash; any other bit, name, shape or type has another."""

from __future__ import annotations

import hashlib

import torch
from rayloop.jobs.training.fingerprint import fingerprint


def test_the_hash_is_what_it_says() -> None:
    expected = hashlib.sha256(b"b torch.float32 (2,)\n" + b"\0\0\0\0\0\0\x80\x3f")
    assert fingerprint({"b": torch.tensor([0.0, 1.0])}) == expected.hexdigest()


def test_the_order_of_the_tensors_and_of_their_memory_counts_not() -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.ones(1)
    assert fingerprint({"a": a, "b": b}) == fingerprint({"b": b, "a": a.t().contiguous().t()})


def test_everything_else_counts() -> None:
    base = torch.arange(6.0)
    last_bit = base.clone()
    last_bit[3] = torch.nextafter(last_bit[3], torch.tensor(9.0))
    others = [
        {"w": base},
        {"v": base},
        {"w": base.reshape(2, 3)},
        {"w": base.double()},
        {"w": base.bfloat16()},
        {"w": last_bit},
        {"w": base, "empty": torch.empty(0)},
        {"w": base, "scalar": torch.tensor(1)},
    ]
    assert len({fingerprint(weights) for weights in others}) == len(others)
