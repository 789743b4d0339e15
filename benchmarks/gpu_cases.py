"""The models that a GPU trains, and rows of a realistic shape for them, made on the device; it measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from rayloop.jobs.training.data import Rows
from rayloop.platform.model.schema import Feature, Schema, Target

SEED = 1
Make = Callable[[int, torch.Generator], Rows]


@dataclass(frozen=True, slots=True)
class Case:
    """One model. `make` gives so many rows, on the device of the generator."""

    name: str
    task: str
    schema: Schema
    params: Mapping[str, Any]
    first_batch: int
    make: Make
    describe: str
    recomputes: bool = True
    """Whether its module offers activation checkpointing."""
    most_batch: int = 1 << 22

    def rows(self, count: int, device: torch.device) -> Rows:
        """Rows in the device's memory, the same for the same device and number."""
        return self.make(count, torch.Generator(device).manual_seed(SEED))


def cases(is_tiny: bool) -> tuple[Case, ...]:
    """The models; tiny ones run on a CPU in a second, to see that all of it works."""
    if is_tiny:
        tiny = resnet(16, (8, 16), 4), transformer(24, 16, 1, 2, 4), perceptron(6, (16, 8), 4, 64)
        return tuple(replace(case, most_batch=4 * case.first_batch) for case in tiny)
    return (
        resnet(64, (64, 128, 256, 512), 128),
        transformer(511, 1024, 12, 16, 16),
        perceptron(100, (256, 128), 48, 16_384),
    )


def resnet(side: int, widths: tuple[int, ...], first_batch: int) -> Case:
    """Images as bytes, as decoded pictures are, moved and mirrored in training."""
    feature = Feature("picture", "image", "BYTES", mean=127.5, std=73.9, shape=(side, side, 3))

    def make(count: int, generator: torch.Generator) -> Rows:
        pixels = torch.randint(
            0, 256, (count, 3, side, side), generator=generator, device=generator.device, dtype=torch.uint8
        )
        return Rows({"pixels": pixels}, _classes(count, 10, generator))

    params = {"widths": list(widths), "dropout": 0.1, "shift": 2, "flip": True}
    describe = f"{side} x {side} x 3 bytes, widths {', '.join(map(str, widths))}, shift 2, flip"
    return Case("ResNet", "image", Schema((feature,), _target(10)), params, first_batch, make, describe)


def transformer(length: int, width: int, depth: int, heads: int, first_batch: int) -> Case:
    """Texts as bytes, of a quarter of the length at least; the rest is padding, which is computed with on a GPU."""
    feature = Feature("text", "text", "BYTES", shape=(length,))

    def make(count: int, generator: torch.Generator) -> Rows:
        device = generator.device
        tokens = torch.randint(1, 257, (count, length), generator=generator, device=device, dtype=torch.int32)
        ends = torch.randint(length // 4, length + 1, (count, 1), generator=generator, device=device)
        tokens *= torch.arange(length, device=device) < ends
        return Rows({"tokens": tokens}, _classes(count, 10, generator))

    params = {"length": length, "width": width, "depth": depth, "heads": heads, "dropout": 0.1}
    describe = f"texts of {length} bytes, width {width}, depth {depth}, {heads} heads, dropout 0.1"
    return Case("Transformer", "sequence", Schema((feature,), _target(10)), params, first_batch, make, describe)


def perceptron(features: int, hidden: tuple[int, ...], bins: int, first_batch: int) -> Case:
    """Normal numbers, with the edges of as many bins as a schema learns, and the task's own settings else."""
    places = torch.linspace(0.001, 0.999, bins + 1, dtype=torch.float64)
    edges = tuple(torch.special.ndtri(places).tolist())
    numbers = tuple(Feature(f"x{place}", "numeric", "FP32", edges=edges) for place in range(features))

    def make(count: int, generator: torch.Generator) -> Rows:
        numeric = torch.randn(count, features, generator=generator, device=generator.device)
        return Rows({"numeric": numeric}, _classes(count, 2, generator))

    params = {"hidden": list(hidden)}
    describe = f"{features} numbers in {bins} pieces each, hidden {', '.join(map(str, hidden))}, dropout 0.3"
    schema = Schema(numbers, _target(2))
    return Case("MLP", "tabular", schema, params, first_batch, make, describe, recomputes=False)


def _target(classes: int) -> Target:
    return Target("label", "INT64", classes=tuple(range(classes)))


def _classes(count: int, classes: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, classes, (count,), generator=generator, device=generator.device)
