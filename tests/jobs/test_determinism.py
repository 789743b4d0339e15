"""Equal trainings give equal bits on CPU as a rule, and on GPU where it is asked for."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from rayloop.jobs.training.determinism import is_deterministic, set_determinism
from rayloop.platform.project.schema import TrainConfig


@pytest.mark.parametrize(
    ("wish", "device", "chosen"),
    [("auto", "cpu", True), ("auto", "cuda", False), (True, "cuda", True), (False, "cpu", False), (True, "cpu", True)],
)
def test_auto_is_cpu_alone(wish: bool, device: str, chosen: bool) -> None:
    assert is_deterministic(wish, device) is chosen


def test_torch_is_told() -> None:
    assert set_determinism(False, torch.device("cpu")) is False
    assert not torch.are_deterministic_algorithms_enabled()
    assert set_determinism("auto", torch.device("cpu")) is True
    assert torch.are_deterministic_algorithms_enabled()


def test_the_project_file_has_three_words_for_it() -> None:
    assert [TrainConfig(deterministic=word).deterministic for word in ("auto", True, False)] == ["auto", True, False]
    with pytest.raises(ValidationError):
        TrainConfig.model_validate({"deterministic": "sometimes"})
