"""Holds a task to its contract: runs one batch of real rows through every method, and names the first fault.

Each rule is one that training or serving breaks on later, where the cause is hard to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import RayloopError
from .schema import Schema
from .signature import Columns
from .target import Target
from .task import Batch, Inputs, Task, quantile_levels

TOLERANCE = 1e-4
"""How far the answer to a row may hang on the rows beside it: kernels add in another order for other shapes."""
SEED = 0


class BrokenContract(RayloopError):
    """A task that breaks a rule; the sentence names the method, what it gave, and the rule."""

    def __init__(self, use: str, method: str, found: str, rule: str) -> None:
        super().__init__(use, method, found, rule)
        self.use, self.method, self.found, self.rule = use, method, found, rule

    def __str__(self) -> str:
        return f"task {self.use!r}, {self.method}: {self.found}; {self.rule}"


@dataclass(frozen=True, slots=True)
class Trial:
    """A task, and the rows of a project that it is tried on."""

    use: str
    task: Task
    schema: Schema
    params: Mapping[str, Any]
    columns: Columns
    target: NDArray[np.generic]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.target)

    def broken(self, method: str, found: str, rule: str) -> BrokenContract:
        """The error of a rule."""
        return BrokenContract(self.use, method, found, rule)

    def call(self, method: str, function: Callable[[], Any]) -> Any:
        """Run a method of the task; whatever it raises is its fault."""
        try:
            return function()
        except RayloopError:
            raise
        except Exception as error:
            text = (str(error).strip().splitlines() or [""])[0]
            raise self.broken(method, f"{type(error).__name__}: {text}", "it must take the project's rows") from error


def check_task(trial: Trial) -> list[str]:
    """Hold the task to every rule; returns what was checked, in words. Raises BrokenContract for the first fault."""
    with torch.random.fork_rng(devices=[]):
        inputs = _check_encode(trial)
        module = _check_build(trial)
        _check_loss(trial, module, inputs)
        answers = _check_predict(trial, module, inputs)
        _check_state(trial, module, inputs, answers)
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
    given = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in answers.items())
    learnt = sum(parameter.numel() for parameter in module.parameters())
    return [f"encode: {shapes}", f"build: {learnt} parameters", "loss and backward", f"predict: {given}", "state_dict"]


def _check_encode(trial: Trial) -> dict[str, Tensor]:
    given = {name: np.array(values) for name, values in trial.columns.items()}  # copies, which can be written to
    inputs = _encoded(trial, given)
    for name, values in given.items():
        if not _same(values, trial.columns[name]):
            raise trial.broken("encode", f"it changed column {name!r}", "it must leave what it is given as it was")
    if not all(_equal(one, other) for one, other in _pairs(inputs, _encoded(trial, trial.columns))):
        raise trial.broken("encode", "a second call gave other tensors", "equal columns must give equal tensors")
    for count in (1, trial.rows - 1):
        few = _encoded(trial, {name: values[:count] for name, values in trial.columns.items()})
        for name, tensor in few.items():
            if name not in inputs or tensor.shape[1:] != inputs[name].shape[1:]:
                found = f"{name!r} has shape {list(tensor.shape)} for {count} of the rows"
                raise trial.broken("encode", found, "a row's shape must not hang on the rows beside it")
            if not _equal(tensor, inputs[name][: len(tensor)]):
                found = f"{name!r} is other for the first {count} rows alone"
                raise trial.broken("encode", found, "a row's numbers must not hang on the rows beside it")
    return inputs


def _encoded(trial: Trial, columns: Columns) -> dict[str, Tensor]:
    inputs = trial.call("encode", lambda: trial.task.encode(trial.schema, columns))
    rows = len(next(iter(columns.values())))
    if not isinstance(inputs, dict) or not inputs:
        raise trial.broken("encode", f"it gave {inputs!r:.60}", "it must give a dict of one tensor or more")
    for name, tensor in inputs.items():
        if not isinstance(tensor, Tensor):
            raise trial.broken("encode", f"{name!r} is a {type(tensor).__name__}", "each value must be a tensor")
        if tensor.ndim == 0 or len(tensor) != rows:
            found = f"{name!r} has shape {list(tensor.shape)} for {rows} rows"
            raise trial.broken("encode", found, "the first axis of each tensor must be the rows")
    return inputs


def _built(trial: Trial, seed: int = SEED) -> nn.Module:
    torch.manual_seed(seed)
    module = trial.call("build", lambda: trial.task.build(trial.schema, trial.params))
    if not isinstance(module, nn.Module):
        raise trial.broken("build", f"it gave a {type(module).__name__}", "it must give a torch.nn.Module")
    return module


def _check_build(trial: Trial) -> nn.Module:
    module, again = _built(trial), _built(trial)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise trial.broken("build", "the module has no parameter", "it must have one that can learn")
    if module is again:
        raise trial.broken("build", "it gave the same module twice", "each call must give a new one")
    name = _first_difference(module.state_dict(), again.state_dict())
    if name is not None:
        found = f"{name!r} is other in a second module of the same seed"
        raise trial.broken("build", found, "all that is drawn must come from torch's own generator")
    return module


def _check_loss(trial: Trial, module: nn.Module, inputs: Inputs) -> None:
    module.train()
    batch = Batch(inputs, torch.from_numpy(np.array(trial.target)))
    kept = {name: tensor.clone() for name, tensor in inputs.items()}
    torch.manual_seed(SEED)
    loss = trial.call("loss", lambda: trial.task.loss(module, batch))
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise trial.broken("loss", f"it gave {found}", "it must give one number, the mean over the rows")
    if not bool(torch.isfinite(loss)):
        raise trial.broken("loss", f"it gave {loss.item()}", "it must be finite on the project's own rows")
    if not loss.requires_grad:
        raise trial.broken("loss", "it hangs on no parameter", "it must be made of the module's answers")
    _unchanged(trial, "loss", kept, inputs)
    trial.call("backward", loss.backward)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            found = f"parameter {name!r} got no gradient"
            raise trial.broken("backward", found, "workers wait for that of each parameter: leave it out of the module")
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise trial.broken(
                "backward", f"the gradient of {name!r} is not finite", "it must be on the project's rows"
            )
    other = _built(trial).train()  # as the module was before its first loss, which may have moved some buffer
    torch.manual_seed(SEED)
    again = trial.call("loss", lambda: trial.task.loss(other, batch))
    if not torch.equal(loss.detach(), again.detach()):
        found = f"{loss.item():.6g} and then {again.item():.6g} with the same seed"
        raise trial.broken("loss", found, "all that is drawn must come from torch's own generator")


def _check_predict(trial: Trial, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    module.eval()
    kept = {name: tensor.clone() for name, tensor in inputs.items()}
    answers = _predicted(trial, module, inputs)
    _unchanged(trial, "predict", kept, inputs)
    _check_answers(trial, module, answers)
    for one, other in _pairs(answers, _predicted(trial, module, inputs)):
        if not torch.equal(one, other):
            raise trial.broken("predict", "a second call gave other answers", "nothing may be drawn in evaluation")
    few = _predicted(trial, module, {name: tensor[:1] for name, tensor in inputs.items()})
    for name, answer in few.items():
        scale = max(1.0, float(answers[name].abs().max()))
        if len(answer) != 1 or not torch.allclose(answer, answers[name][:1], rtol=TOLERANCE, atol=TOLERANCE * scale):
            raise trial.broken(
                "predict", f"{name!r} of the first row is other when it comes alone", "a row's answer must be its own"
            )
    return answers


def _predicted(trial: Trial, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    with torch.inference_mode():
        answers = trial.call("predict", lambda: trial.task.predict(module, inputs))
    if not isinstance(answers, dict) or not all(isinstance(answer, Tensor) for answer in answers.values()):
        raise trial.broken("predict", f"it gave {answers!r:.60}", "it must give a dict of tensors")
    return answers


def _check_answers(trial: Trial, module: nn.Module, answers: Mapping[str, Tensor]) -> None:
    for name, shape in wanted_shapes(trial.schema.target, trial.rows).items():
        if name not in answers:
            given = ", ".join(answers) or "nothing"
            raise trial.broken("predict", f"it gave {given}", f"the project's target needs {name!r}")
        answer = answers[name]
        if tuple(answer.shape) != shape:
            found = f"{name!r} has shape {list(answer.shape)}"
            raise trial.broken("predict", found, f"it must be {list(shape)} for these rows and this target")
        if not answer.is_floating_point() or not bool(torch.isfinite(answer).all()):
            found = f"{name!r} is of {answer.dtype}" if not answer.is_floating_point() else f"{name!r} is not finite"
            raise trial.broken("predict", found, "it must be finite floating-point numbers")
    if "probabilities" in answers and (fault := _chances(answers["probabilities"], trial.schema.target)):
        raise trial.broken("predict", *fault)
    levels = trial.schema.target.quantiles
    if levels and not np.allclose(quantile_levels(module), levels, atol=1e-6):
        found = f"the module's buffer 'levels' is {list(quantile_levels(module))}"
        raise trial.broken("predict", found, f"it must hold the levels of the quantiles, {list(levels)}")


def wanted_shapes(target: Target, rows: int) -> dict[str, tuple[int, ...]]:
    """What `predict` must give for a target: each answer's name and shape."""
    if target.classes:
        return {"probabilities": (rows, len(target.classes))}
    shapes: dict[str, tuple[int, ...]] = {"prediction": (rows,) if target.steps == 1 else (rows, target.steps)}
    if target.quantiles:
        shapes["quantiles"] = (rows, target.steps * len(target.quantiles))
    return shapes


def _chances(answer: Tensor, target: Target) -> tuple[str, str] | None:
    low, high = float(answer.min()), float(answer.max())
    if low < 0 or high > 1 + TOLERANCE:
        return f"'probabilities' go from {low:.4g} to {high:.4g}", "each must lie from 0 to 1: are they scores?"
    sums = answer.sum(dim=1)
    if not target.is_multilabel and not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        return f"'probabilities' of a row sum to {float(sums[0]):.4g}", "those of the classes must sum to 1"
    return None


def _check_state(trial: Trial, module: nn.Module, inputs: Inputs, answers: Mapping[str, Tensor]) -> None:
    other = _built(trial, SEED + 1).eval()
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    trial.call("state_dict", lambda: other.load_state_dict(state))
    for one, two in _pairs(answers, _predicted(trial, other, inputs)):
        if not torch.equal(one, two):
            found = "a new module with the same state answers otherwise"
            raise trial.broken("state_dict", found, "all that answers hang on must be a parameter or a buffer")


def _unchanged(trial: Trial, method: str, kept: Inputs, inputs: Inputs) -> None:
    for name, before in kept.items():
        if not _equal(before, inputs[name]):
            raise trial.broken(method, f"it changed input {name!r}", "it must leave what it is given as it was")


def _equal(one: Tensor, other: Tensor) -> bool:
    """True where the numbers are the same; a gap is equal to a gap."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True))


def _pairs(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(tensor, other.get(name, torch.empty(0))) for name, tensor in one.items()]


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.kind == "O":
        return bool(all(a is b or a == b or a != a for a, b in zip(one.flat, other.flat, strict=True)))
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _first_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    if one.keys() != other.keys():
        return next(iter(sorted(one.keys() ^ other.keys())))
    return next((name for name, tensor in one.items() if not torch.equal(tensor, other[name])), None)
