"""TF32 is off for matrices and convolutions alike, or on for both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from rayloop.jobs.training.precision import set_tf32


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    matrices, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(matrices)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize("is_allowed", [True, False])
def test_both_follow(is_allowed: bool) -> None:
    set_tf32(is_allowed)
    assert torch.backends.cudnn.allow_tf32 is is_allowed
    assert torch.backends.cuda.matmul.allow_tf32 is is_allowed
    assert torch.get_float32_matmul_precision() == ("high" if is_allowed else "highest")
