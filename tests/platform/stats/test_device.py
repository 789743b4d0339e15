"""Counting on any array module gives the integers of the CPU's pass, and the CUDA kernel compiles."""

import ctypes
import sysconfig
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.stats import Binning, array_module, profile, profile_array
from rayloop.platform.stats import device as device_module
from rayloop.platform.stats.cuda import kernel_source
from rayloop.platform.stats.tally import DeviceTally, NumberTally

NORMAL = np.random.default_rng(0).normal(size=5_000)
BINNING = profile({"x": NORMAL}).columns["x"].binning
SPECIAL = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, -9.0, 9.0])


@given(st.lists(st.one_of(SPECIAL, st.floats(-4, 4)), max_size=50), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_the_strict_array_module_counts_what_the_pass_counts(values: list[float], dtype: type) -> None:
    values_N = np.array(values, dtype=dtype)
    tally = NumberTally(BINNING)
    tally.add_values(values_N)
    here, strict = tally.profile(), profile_array(array_api_strict.asarray(values_N), BINNING)
    assert here.counts.tolist() == strict.counts.tolist()
    assert here.distinct == strict.distinct
    assert (here.nans, here.negative_infs, here.positive_infs) == (
        strict.nans,
        strict.negative_infs,
        strict.positive_infs,
    )
    assert (here.min, here.max) == (strict.min, strict.max)
    assert (here.mean or 0.0) == pytest.approx(strict.mean or 0.0, rel=1e-9, abs=1e-9)
    assert here.m2 == pytest.approx(strict.m2, rel=1e-9, abs=1e-9)
    assert here.below == pytest.approx(strict.below, rel=1e-9)
    assert here.above == pytest.approx(strict.above, rel=1e-9)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = profile_array(NORMAL, BINNING)
    monkeypatch.setattr(device_module, "BATCH", 700)
    parts = profile_array(NORMAL, BINNING)
    assert parts.counts.tolist() == whole.counts.tolist()
    assert parts.distinct == whole.distinct
    assert parts.m2 == pytest.approx(whole.m2, rel=1e-9)


def test_half_floats_are_counted_as_float32() -> None:
    halves_N = NORMAL.astype(np.float16)
    assert profile_array(halves_N, BINNING).counts.tolist() == (
        profile_array(halves_N.astype(np.float32), BINNING).counts.tolist()
    )


def test_a_device_tally_counts_nulls_beside_the_values() -> None:
    column = pa.array([1.0, None, np.nan, np.inf, None, -9.0]).slice(1)
    found = DeviceTally(BINNING, np)
    found.add(column)
    here = NumberTally(BINNING)
    here.add(column)
    assert found.profile().counts.tolist() == here.profile().counts.tolist()
    assert found.profile().nulls == 2


def nvrtc() -> ctypes.CDLL | None:
    """CUDA's run-time compiler, which needs no GPU: the system's, or that of a wheel."""
    site = Path(sysconfig.get_paths()["purelib"])
    wheels = sorted(str(path) for path in site.glob("nvidia/**/libnvrtc.so.*"))
    for name in ["libnvrtc.so.12", "libnvrtc.so.13", *wheels]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def compiled(library: ctypes.CDLL, source: str) -> str:
    """PTX of a CUDA source; the compiler's log is the assertion's message."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 2)(b"--std=c++17", b"--gpu-architecture=compute_80")
    status = library.nvrtcCompileProgram(program, 2, options)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, text)
    return text.value.decode()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cuda_kernel_compiles(dtype: str) -> None:
    library = nvrtc()
    if library is None:
        pytest.skip("CUDA's run-time compiler is not here: pip install nvidia-cuda-nvrtc-cu12")
    text = compiled(library, kernel_source(dtype))
    assert f".entry histogram_{dtype}(" in text
    # A fused multiply-add would look up another cell than the host does; only the sums, always float64, may have one.
    assert "fma.rn.f32" not in text


def cupy() -> Any:
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    if array_module("auto") is not module:
        pytest.skip("CuPy sees no CUDA device")
    return module


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", ["normal", "tail", "exact", "one edge"])
def test_a_gpu_counts_what_the_cpu_counts(dtype: type, shape: str) -> None:
    module = cupy()
    values_N = {"tail": np.exp(4 * NORMAL).clip(0, 6e4)}.get(shape, NORMAL).astype(dtype)
    values_N[::50], values_N[1::70], values_N[2::90] = np.nan, np.inf, -np.inf
    reference = profile({"x": values_N}, exact=shape == "exact")
    binnings = {"x": Binning("fractional", edges=(0.5,))} if shape == "one edge" else reference.binnings
    here = profile({"x": values_N}, binnings).columns["x"]
    there = profile({"x": module.asarray(values_N)}, binnings).columns["x"]
    assert here.counts.tolist() == there.counts.tolist()
    assert here.distinct == there.distinct
    assert (here.min, here.max) == (there.min, there.max)
    assert here.mean == pytest.approx(there.mean, rel=1e-9)
    assert here.m2 == pytest.approx(there.m2, rel=1e-9)
