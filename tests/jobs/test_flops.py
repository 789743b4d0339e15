"""Operations are counted on shapes alone; known devices have a peak, and a CPU has none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rayloop.jobs.training.flops import PEAKS, flops_per_row, peak_flops, utilisation
from rayloop.platform.model.task import Batch
from torch import nn

from .conftest import TASK, Toy


class Plain:
    """Mean squared error of a module on `x`."""

    def loss(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        return ((module(batch.inputs["x"]).squeeze(1) - batch.target) ** 2).mean()


def batch(rows: int, width: int) -> Batch:
    return Batch({"x": torch.randn(rows, width)}, torch.randn(rows))


def test_a_linear_layer_has_the_known_number() -> None:
    # Forward 2 * in * out, its weights' gradient as much again; the inputs need none.
    task: Any = Plain()
    assert flops_per_row(task, nn.Linear(32, 1, bias=False), batch(8, 32)) == 2 * 32 * 2


def test_counting_draws_no_number_and_changes_no_buffer() -> None:
    task: Any = Plain()
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rows = batch(8, 4)
    state = torch.get_rng_state()
    assert flops_per_row(task, module, rows)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_built_in_task_can_be_counted(kind: str, make_toy: type[Toy]) -> None:
    toy = make_toy.make(kind=kind)
    rows = toy.rows.take(torch.arange(16))
    flops = flops_per_row(TASK, toy.training().module, rows)
    assert flops is not None
    assert flops > 2 * 16 * 2


def test_a_module_that_is_compiled_in_place_counts_as_the_plain_one() -> None:
    task: Any = Plain()
    module = nn.Linear(32, 1, bias=False)
    plain = module.forward
    module.forward = lambda x: plain(x)  # bound to the numbers of the original, as torch.compile's is
    assert flops_per_row(task, module, batch(8, 32)) == 2 * 32 * 2
    assert "forward" in vars(module)


def test_a_parted_module_has_no_number_since_one_rank_can_t_run_it() -> None:
    class Parted(nn.Linear):
        def set_requires_gradient_sync(self, _: bool) -> None: ...

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the other ranks would be waited for")

    task: Any = Plain()
    assert flops_per_row(task, Parted(4, 1), batch(4, 4)) is None


def test_a_module_that_looks_at_values_has_no_number() -> None:
    class Looks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * float(x.sum() > 0)

    task: Any = Plain()
    assert flops_per_row(task, Looks(4, 1), batch(4, 4)) is None


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "fp32", 51e12),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("Tesla T4", "fp16", 65e12),
        ("NVIDIA L40S", "fp32", 91.6e12),
        ("NVIDIA L4", "fp32", 30.3e12),
        ("NVIDIA A10G", "bf16", 70e12),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2e12),
        ("Something Else", "bf16", None),
        (None, "fp32", None),
    ],
)
def test_peaks_are_found_by_name(name: str | None, precision: str, peak: float | None) -> None:
    found = peak_flops(name, precision)
    assert found == (None if peak is None else pytest.approx(peak))


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 494.5e12), ("NVIDIA A100-SXM4-80GB", 156e12), ("Tesla T4", 8.1e12), (None, None)],
)
def test_products_in_tf32_have_a_peak_of_their_own(name: str | None, peak: float | None) -> None:
    assert peak_flops(name, "fp32", tf32=True) == (None if peak is None else pytest.approx(peak))
    assert peak_flops(name, "bf16", tf32=True) == peak_flops(name, "bf16")


def test_no_name_hides_a_longer_one() -> None:
    assert all(peak_flops(f"NVIDIA {name}", "fp32") == 1e12 * PEAKS[name][1] for name in PEAKS)


def test_utilisation_is_a_share_of_all_devices() -> None:
    assert utilisation(1e9, 1000.0, 1e12, 2) == 0.5
    assert utilisation(None, 1000.0, 1e12, 1) is None
    assert utilisation(1e9, 1000.0, None, 1) is None
