"""The section `train` of the project file: what is computed, on how much of a cluster, and how it survives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .section import BrokenRule, Section


class WorkersConfig(Section):
    """A number of workers that follows what the cluster has."""

    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _is_a_range(self) -> WorkersConfig:
        if self.min > self.max:
            raise BrokenRule(f"{self.min} must not be above max, which is {self.max}", "min")
        return self


def _kind_of_workers(value: Any) -> str:
    """Which of the two a value is meant to be, so that a fault is that of one and not of both."""
    return "[range]" if isinstance(value, (dict, WorkersConfig)) else "[number]"


Workers = Annotated[
    Annotated[int, Field(ge=1), Tag("[number]")] | Annotated[WorkersConfig, Tag("[range]")],
    Discriminator(_kind_of_workers),
]


class CheckpointConfig(Section):
    """When the state of a training is written down; each is written beside the training, not instead of it."""

    every_epochs: Annotated[int, Field(ge=1)] = 1
    """At the end of each so many epochs, and of the last."""
    every_steps: Annotated[int, Field(ge=1)] | None = None
    """Also after so many steps, in the middle of an epoch."""
    every_seconds: Annotated[float, Field(gt=0)] | None = 300.0
    """Also this long after the last one: what a long epoch can lose."""
    keep: Annotated[int, Field(ge=2)] = 2
    """How many are kept; where the newest is damaged the one before it is used."""


class EarlyStoppingConfig(Section):
    """When a training ends before its last epoch."""

    patience: Annotated[int, Field(ge=1)] = 5
    """It ends after so many epochs without a better validation metric."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much better the metric must be to count, in its own unit."""


class TrainConfig(Section):
    """How it is trained."""

    workers: Workers = 1
    """A number, or {min, max}: as many as the cluster has, and more or fewer when it changes."""
    gpu: bool = False
    """True gives each worker a GPU; false trains on CPU."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """`ddp`: each worker holds the whole model; `fsdp`: parameters, gradients and optimizer are parted over them."""
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Rows of one step over all workers together."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Each worker computes its rows of a step in so many parts and adds the gradients: less memory, same step."""
    allow_smaller_batch: bool = False
    """True doubles `accumulate` where memory does not suffice, and says so; false ends the training."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""
    schedule: Literal["constant", "cosine", "linear", "plateau"] = "constant"
    """`cosine` and `linear` fall to 0 at the last step; `plateau` halves after three epochs that are no better."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """The learning rate rises to its value over so many steps."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """The longest gradient of a step; longer ones are shortened to it."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """bf16 and fp16 compute in 16 bits (autocast) and keep weights in 32; fp16 scales the loss."""
    tf32: bool = False
    """True multiplies float32 matrices, and convolves, in TF32 on GPUs that have it."""
    compile: bool = False
    """True compiles the module by torch.compile, where a compiler is there."""
    activation_checkpointing: bool = False
    """True computes activations twice to hold fewer; the module must offer it, see docs/training.md."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, such as 0.999; the average is validated and kept."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` lets each class count alike in the loss, however many rows it has; for classification."""
    early_stopping: EarlyStoppingConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()
    input: Literal["auto", "memory", "stream"] = "auto"
    """`memory` holds all rows in each worker, `stream` reads them anew each epoch; `auto`: memory where they fit."""
    shuffle_rows: Annotated[int, Field(ge=1)] = 262_144
    """`stream` mixes about so many rows at a time."""
    seed: Annotated[int, Field(ge=0)] = 0
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How many times a run may lose workers and go on from its last checkpoint."""
    queue_minutes: Annotated[float, Field(ge=0)] | None = None
    """How long to wait for workers' resources, also for ones that the cluster has not yet; default: 10 minutes for
    busy ones, and not at all for ones that it has not."""
    deterministic: Literal["auto"] | bool = "auto"
    """Equal runs give equal bits: `auto` on CPU, true on GPUs too, where it costs speed; see docs/reproduction.md."""
    profile: bool = False
    """True keeps torch's profile of some early steps beside the run, as TensorBoard and Perfetto read it."""
    export: tuple[Literal["onnx"], ...] = ()
    """`[onnx]` puts the model as ONNX into the artifact too, after it answered real rows alike; needs rayloop[onnx]."""

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        if self.strategy == "fsdp" and self.precision == "fp16":
            raise BrokenRule("fp16 can't be used with train.strategy fsdp: use bf16 or fp32", "precision")
        return self

    @property
    def least_workers(self) -> int:
        """Fewest workers that may train."""
        return self.workers if isinstance(self.workers, int) else self.workers.min

    @property
    def most_workers(self) -> int:
        """Most workers that may train."""
        return self.workers if isinstance(self.workers, int) else self.workers.max
