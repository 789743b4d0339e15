"""The trainer on a GPU: short precisions learn, compiling changes little, bytes repeat, checkpoints go on, FSDP2 runs.

Each test runs on the CPU too where that costs little, so that a fault of the test itself is seen without a GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rayloop.jobs.training.determinism import WORKSPACE_VARIABLE
from rayloop.jobs.training.loop import Place, Training, build_module
from rayloop.jobs.training.parallel import prepare_module
from rayloop.jobs.training.precision import set_tf32
from rayloop.platform.model.task import find_task

from .gpu_trainer import COUNT, MODELS, plan_of, rows_of

SCRIPT = Path(__file__).parent / "gpu_trainer.py"
TIMEOUT_S = 300
COMPILERS = ("cc", "gcc", "clang")
# The compiler warns of much: that TF32 is off, of small GPUs, of its own parts.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Off, unlike elsewhere: on a GPU it takes a variable that cuBLAS reads once."""
    torch.use_deterministic_algorithms(False)
    set_tf32(False)
    yield
    torch.backends.cudnn.allow_tf32 = True  # as torch has it


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch.device(request.param, 0) if request.param == "cuda" else torch.device("cpu")


def begin(name: str, device: torch.device, **changed: Any) -> Training:
    plan, task, place = plan_of(name, **changed), find_task(name), Place(device=device)
    sample = rows_of(name).to(device).slice(0, 2)
    module, reason = prepare_module(task, build_module(task, MODELS[name][0], plan), plan, place, sample)
    assert reason == ""
    return Training(task, module, plan, place)


def losses(name: str, training: Training, device: torch.device, epochs: int) -> list[float]:
    rows = rows_of(name).to(device)
    return [training.run_epoch(rows) for _ in range(epochs)]


def accuracy(name: str, training: Training, device: torch.device) -> float:
    rows = rows_of(name).to(device)
    training.module.eval()
    with torch.no_grad():
        found = find_task(name).predict(training.module, rows.inputs)["probabilities"].argmax(1)
    return float((found == rows.target).float().mean())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_each_precision_learns(name: str, precision: str, device: torch.device) -> None:
    if device.type == "cpu" and name != "tabular":
        pytest.skip("half precision is slow on a CPU, and one model shows that this test works")
    if precision == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8:
        pytest.skip("this GPU is older than bf16")
    training = begin(name, device, precision=precision, learning_rate=0.02)
    found = losses(name, training, device, 12)
    assert found[-1] < found[0] / 2, found
    assert accuracy(name, training, device) > 0.8
    assert {parameter.dtype for parameter in training.module.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in training.module.parameters()} == {device.type}
    scaler = training.optimizer.scaler
    assert scaler.is_enabled() is (precision == "fp16")
    if precision == "fp16":
        assert 1.0 <= scaler.get_scale() <= 2.0**20  # it has found gradients that are finite
        steps = {float(state["step"]) for state in training.optimizer.torch.state.values()}
        assert max(steps) > 12 * (COUNT // 24) / 2  # and left out few steps on the way


@pytest.mark.parametrize("name", MODELS)
def test_short_precisions_come_near_the_exact_one(name: str, device: torch.device) -> None:
    if device.type == "cpu" and name != "tabular":
        pytest.skip("half precision is slow on a CPU, and one model shows that this test works")
    exact = losses(name, begin(name, device), device, 1)[0]
    for precision in ("bf16", "fp16"):
        short = losses(name, begin(name, device, precision=precision), device, 1)[0]
        # fp16 may leave its first steps out, until its scale fits.
        assert short == pytest.approx(exact, rel=0.1 if precision == "bf16" else 0.5), precision
        assert short != exact


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_module_learns_the_same(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if not any(shutil.which(compiler) for compiler in COMPILERS):
        pytest.skip("torch.compile needs a C compiler")
    compiles_alike(name, torch.device("cuda", 0))


def compiles_alike(name: str, device: torch.device) -> None:
    """Without dropout, whose draws a compiler takes in another order, and without images moved by chance."""
    params = {**MODELS[name][1], "dropout": 0.0, **({"shift": 0, "flip": False} if name == "image" else {})}
    # AdamW would turn the rounding of a gradient that is 0, as that of attention's key biases, into whole steps.
    options = {"params": params, "optimizer": "sgd", "learning_rate": 0.02}
    plain, compiled = (begin(name, device, compile=wish, **options) for wish in (False, True))
    assert "forward" in vars(compiled.module)
    assert "forward" not in vars(plain.module)
    ours, theirs = (losses(name, training, device, 3) for training in (compiled, plain))
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert ours[-1] < ours[0]
    for (key, tensor), other in zip(plain.module.named_parameters(), compiled.module.parameters(), strict=True):
        assert torch.allclose(tensor, other, rtol=1e-2, atol=1e-3), key


@pytest.mark.parametrize("name", MODELS)
def test_activations_that_are_computed_twice_give_the_same_losses(name: str, device: torch.device) -> None:
    if name == "tabular":
        pytest.skip("the perceptron does not offer it")
    plain, twice = (begin(name, device, activation_checkpointing=wish) for wish in (False, True))
    found = [losses(name, training, device, 2) for training in (plain, twice)]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def trained(device: torch.device, way: str, folder: Path) -> dict[str, Any]:
    """What the script says, in a process of its own: as a person runs it, without the variable of cuBLAS."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != WORKSPACE_VARIABLE}
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(device), way, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert found.keys() == MODELS.keys()
    return found


def test_deterministic_trainings_give_the_same_bytes_also_from_a_checkpoint(
    device: torch.device, tmp_path: Path
) -> None:
    first = trained(device, "whole", tmp_path / "first")
    assert trained(device, "whole", tmp_path / "again") == first
    resumed = trained(device, "resumed", tmp_path / "resumed")
    assert {name: found["sha256"] for name, found in resumed.items()} == {
        name: found["sha256"] for name, found in first.items()
    }
    assert len({found["sha256"] for found in first.values()}) == len(MODELS)


def test_fsdp2_trains_as_one_process_does_and_goes_on_from_its_parts(device: torch.device, tmp_path: Path) -> None:
    if device.type == "cuda" and not torch.distributed.is_nccl_available():
        pytest.skip("this torch has no NCCL")
    if device.type == "cpu" and torch.cuda.is_available():
        pytest.skip("FSDP2 takes the GPU where there is one")
    whole, parted = trained(device, "whole", tmp_path / "whole"), trained(device, "sharded", tmp_path / "sharded")
    for name in MODELS:
        assert parted[name]["loss"] == pytest.approx(whole[name]["loss"], rel=1e-3), name
