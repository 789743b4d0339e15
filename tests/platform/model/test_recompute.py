"""Parts that are computed twice in training give the same gradients, dropout included, and hold less in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rayloop.platform.model.attention import Encoder
from rayloop.platform.model.feature import Feature
from rayloop.platform.model.image import ImageTask
from rayloop.platform.model.resnet import ResNet
from rayloop.platform.model.schema import Schema, Target
from rayloop.platform.model.sequence import SequenceTask
from rayloop.platform.model.task import Batch
from torch import Tensor, nn

CLASSES = Target("y", "INT64", classes=(0, 1, 2))


def image(model: str) -> tuple[Any, nn.Module, Batch]:
    schema = Schema((Feature("p", "array", "FP32", shape=(8, 8)),), CLASSES)
    params = {"model": model, "widths": [8, 8], "width": 8, "depth": 2, "heads": 2, "dropout": 0.3}
    inputs = {"pixels": torch.randn(6, 1, 8, 8)}
    return ImageTask(), ImageTask().build(schema, params), Batch(inputs, torch.arange(6) % 3)


def text() -> tuple[Any, nn.Module, Batch]:
    schema = Schema((Feature("t", "text", "BYTES", shape=(12,)),), CLASSES)
    params = {"length": 12, "width": 8, "depth": 2, "heads": 2, "dropout": 0.3}
    inputs = {"tokens": torch.randint(0, 256, (6, 12), dtype=torch.int32)}
    return SequenceTask(), SequenceTask().build(schema, params), Batch(inputs, torch.arange(6) % 3)


def gradients(task: Any, module: nn.Module, batch: Batch) -> tuple[list[Tensor], int]:
    """The gradients of a step, and how often a part was computed for them."""
    parts = [part for whole in module.modules() for part in _parts(whole)]
    calls: list[nn.Module] = []
    hooks = [part.register_forward_pre_hook(lambda part, _: calls.append(part)) for part in parts]
    module.zero_grad()
    torch.manual_seed(5)
    task.loss(module, batch).backward()
    for hook in hooks:
        hook.remove()
    return [parameter.grad.clone() for parameter in module.parameters()], len(calls) // len(parts)


def _parts(module: nn.Module) -> list[nn.Module]:
    return list(module.blocks) if isinstance(module, Encoder) else list(getattr(module, "stages", []))


@pytest.mark.parametrize(
    "make", [text, lambda: image("resnet"), lambda: image("vit")], ids=["sequence", "resnet", "vit"]
)
def test_gradients_are_the_same_bit_for_bit(make: Callable[[], tuple[Any, nn.Module, Batch]]) -> None:
    torch.manual_seed(0)
    task, module, batch = make()
    once, calls = gradients(task, module, batch)
    assert calls == 1
    module.enable_activation_checkpointing()  # type: ignore[operator]
    twice, calls = gradients(task, module, batch)
    assert calls == 2
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(once, twice, strict=True))
    module.eval()
    assert gradients(task, module, batch)[1] == 1


def test_less_is_held_for_the_gradients() -> None:
    network, pixels = ResNet(1, (16, 16), (16, 16, 16), 2, 0.0), torch.randn(4, 1, 16, 16)
    sizes = []
    for _ in range(2):
        held = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(pixels)
        sizes.append(held)
        network.enable_activation_checkpointing()
    assert sizes[1] < sizes[0] / 2
