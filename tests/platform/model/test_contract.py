"""Every built-in task keeps the contract, and each fault of a user's task is named by method, value and rule."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.artifact import LoadedModel, load_artifact, save_artifact
from rayloop.platform.model.contract import BrokenContract, check_task
from rayloop.platform.model.monitored import as_monitored
from rayloop.platform.model.objective import objective_of
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.model.task import Batch, Inputs, Task, quantile_levels
from rayloop.platform.stats import fit_binnings, profile_table
from torch import Tensor, nn

MakeProblem = Callable[[str], Any]


def test_a_built_in_task_keeps_the_contract(problem: Any) -> None:
    assert isinstance(problem.task, Task)
    found = check_task(problem.trial())
    assert [line.split(":")[0] for line in found] == ["encode", "build", "loss and backward", "predict", "state_dict"]


def test_checking_leaves_torchs_generator_as_it_was(problem: Any) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    check_task(problem.trial())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_weight_of_two_doubles_the_loss(problem: Any) -> None:
    module = problem.build().eval()
    inputs, target = (
        problem.task.encode(problem.schema, problem.columns()),
        torch.from_numpy(np.array(problem.target())),
    )
    ones = torch.ones(len(target))
    plain, one, two = (problem.task.loss(module, Batch(inputs, target, weight)) for weight in (None, ones, 2 * ones))
    assert plain.item() == pytest.approx(one.item())
    assert two.item() == pytest.approx(2 * one.item())
    halves = [torch.where(torch.arange(len(target)) % 2 == place, 1.0, 0.0) for place in (0, 1)]
    parts = [problem.task.loss(module, Batch(inputs, target, half)).item() for half in halves]
    assert sum(parts) == pytest.approx(one.item(), rel=1e-4)


def test_an_artifact_answers_as_its_signature_says(problem: Any, tmp_path: Path) -> None:
    module, signature = problem.build().eval(), problem.schema.signature()
    use, params = problem.project.task.use, problem.project.task.params
    before = LoadedModel(problem.schema, problem.task, module, signature, "")
    answers = before.predict(problem.columns())
    monitored = as_monitored(problem.schema, problem.table, answers["prediction"])
    profile = profile_table(monitored, fit_binnings(monitored))
    assert set(profile.columns) == set(monitored.column_names)
    save_artifact(tmp_path / "artifact", module, problem.schema, use, params, profile)
    loaded = load_artifact(str(tmp_path / "artifact"))
    assert loaded.schema == problem.schema
    for column in signature.outputs:
        found = loaded.predict(problem.columns())[column.name]
        wanted = (problem.table.num_rows,) if column.width == 1 else (problem.table.num_rows, column.width)
        assert found.shape == wanted
        assert found.tolist() == answers[column.name].tolist()
    assert quantile_levels(loaded.module) == pytest.approx(problem.schema.target.quantiles)
    for rows in (1, 3):
        example = loaded.example(rows)
        assert set(example) == {column.name for column in signature.inputs}
        for column in signature.inputs:
            assert example[column.name].shape == ((rows,) if column.width == 1 else (rows, column.width))
        assert all(np.isfinite(values).all() for values in loaded.predict(example).values() if values.dtype.kind == "f")


def test_a_few_steps_lower_the_loss(problem: Any) -> None:
    module = problem.build()
    target = torch.from_numpy(np.array(problem.target()))
    batch = Batch(problem.task.encode(problem.schema, problem.columns()), target)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    first = problem.task.loss(module.eval(), batch).item()
    module.train()
    for _ in range(15):
        optimizer.zero_grad()
        loss = problem.task.loss(module, batch)
        loss.backward()
        optimizer.step()
    assert problem.task.loss(module.eval(), batch).item() < 0.97 * first


class Wrong(TabularTask):
    """The built-in task with one method replaced."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        for name, method in methods.items():
            setattr(self, name, method)


def shuffled(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    return TabularTask().predict(module, {name: tensor.flip(0) for name, tensor in inputs.items()})


def drawn(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    scores = module(inputs)
    return {"probabilities": torch.softmax(scores + torch.rand_like(scores), dim=1)}


def batch_scaled(schema: Any, columns: Any) -> dict[str, Tensor]:
    inputs = TabularTask().encode(schema, columns)
    return {**inputs, "numeric": torch.nan_to_num(inputs["numeric"]) - torch.nan_to_num(inputs["numeric"]).mean(dim=0)}


def in_place(schema: Any, columns: Any) -> dict[str, Tensor]:
    columns["constant"][:] = 0
    return TabularTask().encode(schema, columns)


def with_memory(schema: Any, params: Mapping[str, Any]) -> nn.Module:
    module: Any = TabularTask().build(schema, params)
    module.secret = torch.rand(3)
    plain = module.forward
    module.forward = lambda inputs: plain(inputs) + module.secret
    return module


def with_idle(schema: Any, params: Mapping[str, Any]) -> nn.Module:
    module = TabularTask().build(schema, params)
    module.idle = nn.Linear(2, 2)
    return module


def from_numpys_generator(schema: Any, params: Mapping[str, Any]) -> nn.Module:
    module: Any = TabularTask().build(schema, params)
    with torch.no_grad():
        module.layers[0].weight += torch.from_numpy(np.random.default_rng().normal(size=module.layers[0].weight.shape))
    return module


def scores(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    return {"probabilities": module(inputs)}


def sigmoids(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    return {"probabilities": torch.sigmoid(module(inputs))}


def row_losses(module: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(module(batch.inputs), batch.target, reduction="none")


SHARE = {"probabilities": torch.full((12, 3), 1 / 3)}


@pytest.mark.parametrize(
    ("methods", "method", "said"),
    [
        ({"encode": lambda schema, columns: {}}, "encode", "it gave {}; it must give a dict of one tensor or more"),
        ({"encode": lambda s, c: {"x": np.zeros(3)}}, "encode", "'x' is a ndarray; each value must be a tensor"),
        ({"encode": lambda s, c: {"x": torch.zeros(1, 12)}}, "encode", "'x' has shape [1, 12] for 12 rows; the first"),
        ({"encode": lambda s, c: 1 / 0}, "encode", "ZeroDivisionError: division by zero; it must take the project's"),
        ({"encode": lambda s, c: {"x": torch.rand(len(c["flag"]))}}, "encode", "a second call gave other tensors"),
        ({"encode": batch_scaled}, "encode", "'numeric' is other for the first 1 rows alone; a row's numbers must"),
        ({"encode": in_place}, "encode", "it changed column 'constant'; it must leave what it is given as it was"),
        ({"build": lambda schema, params: None}, "build", "it gave a NoneType; it must give a torch.nn.Module"),
        ({"build": lambda schema, params: nn.Identity()}, "build", "the module has no parameter; it must have one"),
        ({"build": from_numpys_generator}, "build", "'layers.0.weight' is other in a second module of the same seed"),
        ({"build": with_idle}, "backward", "parameter 'idle.weight' got no gradient; workers wait for that of each"),
        ({"build": with_memory}, "state_dict", "a new module with the same state answers otherwise; all that answers"),
        ({"loss": row_losses}, "loss", "it gave shape [12]; it must give one number, the mean over the rows"),
        ({"loss": lambda m, b: m(b.inputs).mean().item()}, "loss", "it gave a float; it must give one number"),
        ({"loss": lambda m, b: m(b.inputs).mean() / 0}, "loss", "; it must be finite on the project's own rows"),
        ({"loss": lambda m, b: torch.ones(())}, "loss", "it hangs on no parameter; it must be made of the module's"),
        ({"predict": scores}, "predict", "each must lie from 0 to 1: are they scores?"),
        ({"predict": sigmoids}, "predict", "those of the classes must sum to 1"),
        (
            {"predict": lambda m, i: {"chances": torch.ones(12)}},
            "predict",
            "it gave chances; the project's target needs",
        ),
        (
            {"predict": lambda m, i: {"probabilities": torch.ones(12, 2)}},
            "predict",
            "shape [12, 2]; it must be [12, 3]",
        ),
        ({"predict": lambda m, i: SHARE["probabilities"]}, "predict", "it must give a dict of tensors"),
        ({"predict": lambda m, i: SHARE}, "predict", "'probabilities' of the first row is other when it comes alone"),
        ({"predict": drawn}, "predict", "a second call gave other answers; nothing may be drawn in evaluation"),
        ({"predict": shuffled}, "predict", "'probabilities' of the first row is other when it comes alone"),
    ],
)
def test_a_fault_is_named(make_problem: MakeProblem, methods: dict[str, Any], method: str, said: str) -> None:
    problem = make_problem("classes")
    with pytest.raises(BrokenContract) as error:
        check_task(problem.trial(task=Wrong(**methods)))
    assert str(error.value).startswith(f"task 'tabular', {method}: ")
    assert said in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_quantiles_without_their_levels_are_a_fault(make_problem: MakeProblem) -> None:
    def build(schema: Any, params: Mapping[str, Any]) -> nn.Module:
        module = TabularTask().build(schema, params)
        objective_of(module).levels.fill_(0.5)
        return module

    with pytest.raises(BrokenContract, match=r"the module's buffer 'levels' is .*; it must hold the levels"):
        check_task(make_problem("quantiles").trial(task=Wrong(build=build)))


def test_a_sentence_of_the_tasks_own_is_passed_on(make_problem: MakeProblem) -> None:
    def build(schema: Any, params: Mapping[str, Any]) -> nn.Module:
        raise InvalidInput("task.params.width = 0: it must be above 0")

    with pytest.raises(InvalidInput, match=r"task\.params.width = 0: it must be above 0"):
        check_task(make_problem("classes").trial(task=Wrong(build=build)))
