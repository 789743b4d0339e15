"""Trials as values, a manifest in a folder, and a space with a condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.search.manifest import Manifest
from rayloop.jobs.search.trial import FINISHED, Report, Trial
from rayloop.platform.data import Store
from rayloop.platform.project import SearchConfig

SPACE: dict[str, Any] = {
    "learning_rate": {"loguniform": [1e-4, 1e-1]},
    "kind": {"choice": ["plain", "deep"]},
    "depth": {"int": [2, 4], "when": {"kind": "deep"}},
    "dropout": {"uniform": [0.0, 0.5], "when": {"depth": [3, 4]}},
}


def build_search(**given: Any) -> SearchConfig:
    return SearchConfig.model_validate({"space": SPACE, **given})


def build_trial(
    number: int,
    scores: Sequence[float] = (0.7, 0.8),
    settings: Mapping[str, Any] | None = None,
    outcome: str = FINISHED,
    *,
    first_order: int = 1,
    seconds: float = 1.0,
    **given: Any,
) -> Trial:
    """A trial whose best score so far is given epoch by epoch."""
    reports = [
        Report(
            epoch, first_order + epoch - 1, score, {"train_loss": 1 / epoch}, {"validation_auc": score}, 2, 0, seconds
        )
        for epoch, score in enumerate(scores, start=1)
    ]
    chosen = {"learning_rate": 0.01, "kind": "plain"} if settings is None else settings
    return Trial(number, dict(chosen), outcome, reports=tuple(reports), **given)


def build_result(epoch: int, score: float, **given: Any) -> dict[str, Any]:
    """A report as Ray hands it to a scheduler."""
    costs = {"cpu_seconds": 2.0, "gpu_seconds": 0.0, "wall_seconds": 1.0}
    metrics = {"metrics/train_loss": 0.5, "kept/validation_auc": score}
    return {"epoch": epoch, "score": score, "current": score, **costs, **metrics, **given}


@pytest.fixture
def make_search() -> Callable[..., SearchConfig]:
    return build_search


@pytest.fixture
def make_trial() -> Callable[..., Trial]:
    return build_trial


@pytest.fixture
def make_result() -> Callable[..., dict[str, Any]]:
    return build_result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def manifest(store: Store) -> Manifest:
    return Manifest(store, "key")
