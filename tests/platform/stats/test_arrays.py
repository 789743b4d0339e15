"""The array module is chosen by what is there, and says so when it is not."""

import sys
from types import ModuleType, SimpleNamespace

import array_api_strict
import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.stats import array_module, to_host


def fake_cupy(is_available: bool) -> ModuleType:
    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(is_available=lambda: is_available)  # type: ignore[attr-defined]
    return module


def test_cpu_is_numpy_even_where_a_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(True))
    assert array_module("cpu") is np


@pytest.mark.parametrize("cupy", [None, fake_cupy(False)])
def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, cupy: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_module("auto") is np
    with pytest.raises(Unavailable, match="CuPy"):
        array_module("gpu")


@pytest.mark.parametrize("prefer", ["auto", "gpu"])
def test_with_a_gpu(monkeypatch: pytest.MonkeyPatch, prefer: str) -> None:
    cupy = fake_cupy(True)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_module(prefer) is cupy  # type: ignore[arg-type]


def test_unknown_word() -> None:
    with pytest.raises(InvalidInput, match="'tpu'"):
        array_module("tpu")  # type: ignore[arg-type]


def test_to_host() -> None:
    array = np.arange(3)
    assert to_host(array) is array
    assert to_host(array_api_strict.asarray(array)).tolist() == [0, 1, 2]
    assert to_host(SimpleNamespace(get=lambda: array)).tolist() == [0, 1, 2]
