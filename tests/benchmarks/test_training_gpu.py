"""The benchmark of GPUs runs as a whole on tiny models, and claims nothing of a machine without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import training_gpu
from click.testing import CliRunner
from gpu_batch import Tried, best_batch, lowered, search
from gpu_cases import cases
from gpu_round import Round, Trained, model_flops
from training_gpu import BF16, COMPILED, FP32, TF32, TWICE, Measured, claims_of, peaks_of

CPU = torch.device("cpu")
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before
    torch.set_float32_matmul_precision("highest")


def test_it_runs_on_a_cpu_and_holds_no_claim(tmp_path: Path) -> None:
    file, page = tmp_path / "claims.json", tmp_path / "page.md"
    options = ["--device", "cpu", "--quick", "--rounds", "1", "--no-compile", "--json", str(file)]
    done = CliRunner().invoke(training_gpu.main, [*options, "--markdown", str(page)])
    assert done.exit_code == 1, done.output  # claims that are not measured do not hold
    found = json.loads(file.read_text())["claims"]
    assert len(found) == 9
    assert {claim["value"] for claim in found} == {None}
    assert {claim["holds"] for claim in found} == {False}
    lines = [line.split(" | ") for line in page.read_text().splitlines()]
    lines = [line for line in lines if len(line) == len(training_gpu.HEADER)][2:]
    trained = [(line[0].strip("| "), line[2]) for line in lines]
    ways = [way.name for way in (FP32, TF32, BF16, TWICE)]
    assert trained == [(name, way) for name in training_gpu.NAMES for way in ways if (name, way) != ("MLP", TWICE.name)]
    assert all(int(line[3].replace(",", "")) > 0 for line in lines)
    assert "No peak is known of this device" in page.read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so() -> None:
    done = CliRunner().invoke(training_gpu.main, [])
    assert done.exit_code == 1
    assert "torch sees no NVIDIA GPU" in done.output


@pytest.mark.parametrize(
    ("rates", "batches", "best"),
    [
        ([100.0, 150.0, 155.0, 999.0], [8, 16, 32], 32),  # grows too little; the fastest counts
        ([100.0, 150.0, 200.0, 300.0, 999.0], [8, 16, 32, 64], 64),  # there are no more rows
        ([100.0, 150.0, 140.0, 999.0], [8, 16, 32], 16),
        ([100.0, 150.0, None, 999.0], [8, 16, 32], 16),
        ([None, 999.0], [8], None),
    ],
)
def test_batches_double_while_it_pays(rates: list[float | None], batches: list[int], best: int | None) -> None:
    waiting = iter(rates)
    tried = search(8, 64, lambda batch: Tried(batch, next(waiting)))
    assert [one.batch for one in tried] == batches
    found = best_batch(tried)
    assert (None if found is None else found.batch) == best


def test_a_batch_leaves_half_of_the_memory() -> None:
    tried = search(8, 64, lambda batch: Tried(batch, float(batch), memory_share=batch / 100))
    assert [one.batch for one in tried] == [8, 16, 32, 64]
    assert best_batch(tried) == Tried(32, 32.0, 0.32)
    assert lowered(32, lambda batch: Tried(batch, 1.0, memory_share=batch / 50)) == 16
    assert lowered(32, lambda batch: Tried(batch, None)) is None


@pytest.mark.parametrize("case", cases(is_tiny=True), ids=lambda case: case.name)
def test_a_round_trains_every_row_once(case: object) -> None:
    assert isinstance(case, type(cases(is_tiny=True)[0]))
    rows = case.rows(10, CPU)
    assert all(torch.equal(tensor, case.rows(10, CPU).inputs[name]) for name, tensor in rows.inputs.items())
    one = Trained(case, FP32, 4, CPU)
    before = [parameter.clone() for parameter in one.training.module.parameters()]
    found = one.round(rows)
    assert found.rows_per_s > 0
    assert found.peak_bytes is None
    assert one.training.epoch == 1
    assert {float(state["step"]) for state in one.training.optimizer.torch.state.values()} == {3.0}
    assert any(not torch.equal(a, b) for a, b in zip(before, one.training.module.parameters(), strict=True))


def test_operations_of_the_large_models_are_those_of_their_layers() -> None:
    resnet, transformer, mlp = cases(is_tiny=False)
    width, depth, places = 1024, 12, 512
    layers = 12 * depth * width * width / 12 * 8  # in, out, and a perceptron of twice the width: eight squares a block
    attention = 2 * depth * places * width
    assert model_flops(transformer) == pytest.approx(6 * places * (layers + attention), rel=0.01)
    assert model_flops(mlp) == pytest.approx(6 * (4900 * 256 + 256 * 128) - 2 * 4900 * 256, rel=0.01)
    assert (model_flops(resnet) or 0) > 5e8


def measured() -> Measured:
    case = cases(is_tiny=False)[1]
    rates = {FP32: 100.0, TF32: 400.0, BF16: 800.0, COMPILED: 1000.0, TWICE: 600.0}
    found = Measured(case, 64, flops=4e11)
    for way, rate in rates.items():
        peak = 10_000 << 20 if way is not TWICE else 4_000 << 20
        found.rounds[way] = [Round(rate * scale, peak) for scale in (0.9, 1.0, 1.2)]
    return found


def test_on_a_gpu_claims_are_ratios_round_by_round_and_shares_of_its_peak() -> None:
    found = {"Transformer": measured()}
    made = {claim.name: claim.value for claim in claims_of(found, ["Transformer"], H100)}
    assert list(made.values()) == [8.0, 1.25, 40.4, 0.4]  # 4e11 * 1000 of 989e12
    assert all(claim.holds for claim in claims_of(found, ["Transformer"], H100))
    assert {claim.value for claim in claims_of(found, ["Transformer"], None)} == {None}
    assert {claim.value for claim in claims_of({}, ["MLP"], H100)} == {None}
    shares = {way.name: found["Transformer"].percent(way, H100) for way in (FP32, TF32, BF16)}
    assert shares == pytest.approx({"fp32": 59.7, "fp32, TF32": 32.36, "bf16": 32.36}, rel=1e-3)
    assert found["Transformer"].cells(H100)[3] == (
        "Transformer",
        "64",
        "bf16, compiled",
        "1,000",
        "10.00",
        "40.4",
        "10,000",
    )
    assert "fp32 67, fp32, TF32 494.5, bf16 989" in peaks_of(H100)
