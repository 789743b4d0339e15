"""What every test gets: a home folder of its own, and no Ray unless it is marked `cluster`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RAYLOOP_HOME in the test's own folder (not made yet); no other setting of the caller's comes in."""
    for name in [name for name in os.environ if name.startswith("RAYLOOP_") or name == "MLFLOW_TRACKING_URI"]:
        monkeypatch.delenv(name)
    home = tmp_path / ".rayloop"
    monkeypatch.setenv("RAYLOOP_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ray.init` fail; a first `.remote()` calls it too. Tests of GPUs may run where there is no Ray at all."""
    if request.node.get_closest_marker("cluster") is None and find_spec("ray") is not None:
        monkeypatch.setattr("ray.init", _refuse)


def _refuse(*_arguments: Any, **_options: Any) -> NoReturn:
    raise AssertionError("this test starts Ray: mark it with @pytest.mark.cluster")
