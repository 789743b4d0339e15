"""The shape of the project file, key by key; it reads no file and knows no cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ..errors import InvalidInput
from ..traffic import Sticky
from .section import BrokenRule, Section
from .serving import MOST_REPLICAS, AutoscaleConfig, CaptureConfig


def _no_double_dash(name: str) -> str:
    """`--` parts endpoint and version in the names of Serve applications."""
    if "--" in name:
        raise ValueError("must not hold --")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"), AfterValidator(_no_double_dash)]
Share = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SplitConfig(Section):
    """How rows are parted into train, validation and test, the same way each time."""

    by: Literal["key", "time"] = "key"
    """`key`: by a hash of the key column (or of the row's place where there is none); `time`: the last rows test."""
    validation: Share = 0.15
    """Share of rows that choose the best epoch and trial."""
    test: Share = 0.15
    """Share of rows held out for the gates; no training sees them."""

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation:g} and test {self.test:g} must leave rows to train on: "
                "their sum must be below 1"
            )
        return self


class DataConfig(Section):
    """Where the rows come from and what their columns mean."""

    source: str
    """A Parquet or CSV file, a folder of them, or a glob; relative to the project file."""
    target: str
    """The column to predict; it may hold no null and no NaN."""
    key: str | None = None
    """A column that names the entity of a row: rows of one key never part between train and test."""
    time: str | None = None
    """The column that says when a row happened; not a feature."""
    sensitive: tuple[str, ...] = ()
    """Columns kept for fairness checks; never features."""
    ignore: tuple[str, ...] = ()
    """Columns that are not features."""
    split: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def _time_split_has_a_time(self) -> DataConfig:
        if self.split.by == "time" and self.time is None:
            raise BrokenRule("is 'time', so data.time must name a column", "split", "by")
        if self.target in {self.key, self.time, *self.sensitive, *self.ignore}:
            raise BrokenRule(f"{self.target!r} cannot also be key, time, sensitive or ignored", "target")
        return self

    @property
    def not_features(self) -> frozenset[str]:
        """Columns that no model reads."""
        named = {self.target, self.key, self.time, *self.sensitive, *self.ignore}
        return frozenset(name for name in named if name is not None)


class TaskConfig(Section):
    """What is learnt."""

    kind: Literal["classification", "regression"] = "classification"
    use: str = "tabular"
    """`tabular`, or your own task as `module:Class`, found beside the project file."""
    params: dict[str, Any] = {}
    """Given to the task's `build`; for `tabular`: hidden (list of widths), dropout, embedding."""


class TrainConfig(Section):
    """How it is trained."""

    workers: Annotated[int, Field(ge=1)] = 1
    gpu: bool = False
    """True gives each worker a GPU; false trains on CPU."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Rows of one step over all workers together."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: Annotated[int, Field(ge=0)] = 0
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How many times a run may lose workers and go on from its last checkpoint."""
    deterministic: Literal["auto"] | bool = "auto"
    """Equal runs give equal bits: `auto` on CPU, true on GPUs too, where it costs speed; see docs/reproduction.md."""
    profile: bool = False
    """True keeps torch's profile of some early steps beside the run, as TensorBoard and Perfetto read it."""
    export: tuple[Literal["onnx"], ...] = ()
    """`[onnx]` puts the model as ONNX into the artifact too, after it answered real rows alike; needs rayloop[onnx]."""


class SearchConfig(Section):
    """Which settings are searched, and how long."""

    trials: Annotated[int, Field(ge=1)] = 8
    concurrent: Annotated[int, Field(ge=1)] = 2
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Most epochs of one trial; default train.epochs."""
    grace_epochs: Annotated[int, Field(ge=1)] = 3
    """ASHA stops no trial before this many epochs."""
    space: dict[str, dict[Literal["choice", "uniform", "loguniform", "int"], list[Any]]] = {}
    """For each of learning_rate, weight_decay, batch_size or a task parameter: one of choice, uniform,
    loguniform, int with its values or its two bounds."""

    @model_validator(mode="after")
    def _space_is_sound(self) -> SearchConfig:
        for name, choice in self.space.items():
            if len(choice) != 1:
                raise BrokenRule("must hold exactly one of choice, uniform, loguniform, int", "space", name)
            ((how, values),) = choice.items()
            if not values:
                raise BrokenRule("must not be empty", "space", name, how)
            if how == "choice":
                continue
            numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
            if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
                raise BrokenRule(f"{values} must be two numbers, the lower first", "space", name, how)
            if how == "loguniform" and numbers[0] <= 0:
                raise BrokenRule(f"{values} must lie above 0", "space", name, how)
            if how == "int" and not all(isinstance(v, int) for v in values):
                raise BrokenRule(f"{values} must be whole numbers", "space", name, how)
        return self


METRICS = {
    "classification": ("accuracy", "precision", "recall", "f1", "auc", "log_loss"),
    "regression": ("mae", "mse", "rmse", "r2"),
}
LOWER_IS_BETTER = frozenset({"log_loss", "mae", "mse", "rmse"})


class Gate(Section):
    """A bound that a new version must keep before it may be served."""

    metric: Literal["accuracy", "precision", "recall", "f1", "auc", "log_loss", "mae", "mse", "rmse", "r2"]
    min: float | None = None
    max: float | None = None
    max_loss_to_champion: Annotated[float, Field(ge=0)] | None = None
    """How much worse than the champion on the same rows it may be, in the metric's own unit."""

    @model_validator(mode="after")
    def _binds(self) -> Gate:
        if self.min is None and self.max is None and self.max_loss_to_champion is None:
            raise ValueError(f"gate on {self.metric} sets none of min, max, max_loss_to_champion")
        return self


class ValidateConfig(Section):
    """What a version must prove on the held-out rows."""

    metric: str | None = None
    """The metric that ranks epochs and trials; default accuracy, or rmse for regression."""
    gates: tuple[Gate, ...] = ()


class CanaryConfig(Section):
    """How a challenger is tried on live traffic."""

    share: Annotated[float, Field(gt=0, le=50)] = 10
    """Percent of the traffic that it gets."""
    min_requests: Annotated[int, Field(ge=1)] = 100
    """Answers of the challenger to see before it may be promoted."""
    max_error_increase: Fraction = 0.05
    """How many more of its answers may be errors than of the champion's."""
    deadline_s: Annotated[float, Field(gt=0)] = 3600
    """Undecided after this long, the champion keeps all traffic."""


class StickyConfig(Section):
    """What keeps a client on one version while traffic is split: a header or a cookie."""

    header: str | None = None
    cookie: str | None = None

    @model_validator(mode="after")
    def _names_one(self) -> StickyConfig:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("must name either a header or a cookie")
        try:
            self.sticky()
        except InvalidInput as error:
            raise BrokenRule(str(error), "cookie" if self.header is None else "header") from None
        return self

    def sticky(self) -> Sticky:
        """The same as the edge is told of it."""
        return Sticky("cookie", str(self.cookie)) if self.header is None else Sticky("header", self.header)


class ServeConfig(Section):
    """How versions are served."""

    endpoint: Name | None = None
    """The served name; default the project's name."""
    aliases: tuple[Name, ...] = ()
    """Further names of the same endpoint."""
    sticky: StickyConfig = StickyConfig(header="x-session-id")
    """Requests with the same value in this header or cookie reach the same version."""
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None
    """How many replicas each version has; 1 where neither this nor `autoscale` is set."""
    autoscale: AutoscaleConfig | None = None
    """Lets each version choose its number of replicas by its own load."""
    cpus: Annotated[float, Field(gt=0)] = 0.5
    """CPUs that Ray counts for a replica."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of a replica: a fraction below 1, such as 0.25, shares one; above 1 a whole number."""
    max_batch_rows: Annotated[int, Field(ge=1)] = 256
    """Most rows that waiting requests are joined to for one call of the model; 1 joins nothing."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """How long the first request of a batch waits for others although the model is idle."""
    max_queue: Annotated[int, Field(ge=1)] = 256
    """Most requests that wait on one replica; the next is refused with 503."""
    request_timeout_s: Annotated[float, Field(gt=0, le=100)] = 30
    """Longest wait of a request before the model has it; then 503. The edge gives up after 120 s in all."""
    capture: CaptureConfig = CaptureConfig()
    compile: bool = False
    """True compiles the module by torch.compile when a replica starts, where a compiler is there."""
    cuda_graphs: bool = False
    """True answers by CUDA graphs, one for each power of two up to `max_batch_rows`; needs `gpus`."""
    canary: CanaryConfig = CanaryConfig()

    @model_validator(mode="after")
    def _replicas_are_sound(self) -> ServeConfig:
        if self.replicas is not None and self.autoscale is not None:
            raise BrokenRule("cannot be set beside serve.autoscale: keep one of the two", "replicas")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise BrokenRule(f"{self.gpus:g} must be a whole number, or a fraction below 1", "gpus")
        if self.cuda_graphs and not self.gpus:
            raise BrokenRule("true needs a GPU: set serve.gpus above 0", "cuda_graphs")
        return self


class MonitorConfig(Section):
    """What counts as drift."""

    window_minutes: Annotated[float, Field(gt=0)] = 60
    """The captured predictions of this long are one window."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A smaller window gives no verdict."""
    psi: Annotated[float, Field(gt=0)] = 0.2
    ks: Annotated[float, Field(gt=0, lt=1)] = 0.1
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of false discoveries among the columns called drifted."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of drifted columns from which the whole data set counts as drifted."""


class RetrainConfig(Section):
    """When a pipeline run starts by itself."""

    on_drift: bool = True
    search: bool = False
    """True searches anew in each retraining; false trains with the champion's settings."""
    cooldown_minutes: Annotated[float, Field(ge=0)] = 60
    """No trigger fires so soon after the last one."""


class Project(Section):
    """One prediction problem."""

    name: Name
    data: DataConfig
    task: TaskConfig = TaskConfig()
    train: TrainConfig = TrainConfig()
    search: SearchConfig = SearchConfig()
    validate_: ValidateConfig = Field(default=ValidateConfig(), alias="validate")
    serve: ServeConfig = ServeConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Project:
        known = METRICS[self.task.kind]
        named: list[tuple[str | None, tuple[str | int, ...]]] = [(self.validate_.metric, ("metric",))]
        named += [(gate.metric, ("gates", place, "metric")) for place, gate in enumerate(self.validate_.gates)]
        for metric, path in named:
            if metric is not None and metric not in known:
                rule = f"{metric!r} is not a metric of {self.task.kind}: {', '.join(known)}"
                raise BrokenRule(rule, "validate", *path)
        return self

    @property
    def endpoint(self) -> str:
        """The name under which versions are served."""
        return self.serve.endpoint or self.name

    @property
    def metric(self) -> str:
        """The metric that ranks epochs and trials."""
        return self.validate_.metric or METRICS[self.task.kind][0 if self.task.kind == "classification" else 2]
