"""The shape of the project file, key by key; it reads no file and knows no cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ..errors import InvalidInput
from ..traffic import Sticky
from .search import SearchConfig
from .section import BrokenRule, Section
from .serving import MOST_REPLICAS, AutoscaleConfig, CaptureConfig
from .training import TrainConfig


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
    quality: Literal["warn", "refuse", "off"] = "warn"
    """What happens where new data break what the snapshot before kept: they are taken in with a warning, refused where
    an anomaly is an error, or not looked at."""
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

    kind: Literal["classification", "multilabel", "regression"] = "classification"
    """`multilabel`: the target is a list of labels in each row, any number of them."""
    use: str = "tabular"
    """`tabular`, `image`, `sequence`, `forecast`, or your own task as `module:Class`, found beside the project file."""
    params: dict[str, Any] = {}
    """Given to the task's `build`; docs/tasks.md has those of each built-in task."""


METRICS = {
    "classification": ("accuracy", "precision", "recall", "f1", "auc", "log_loss"),
    "multilabel": ("f1", "precision", "recall", "accuracy", "auc", "log_loss"),
    "regression": ("mae", "mse", "rmse", "r2", "pinball", "coverage"),
}
DEFAULT_METRIC = {"classification": "accuracy", "multilabel": "f1", "regression": "rmse"}
LOWER_IS_BETTER = frozenset({"log_loss", "mae", "mse", "rmse", "pinball"})


class Gate(Section):
    """A bound that a new version must keep before it may be served."""

    metric: Literal[
        "accuracy", "precision", "recall", "f1", "auc", "log_loss", "mae", "mse", "rmse", "r2", "pinball", "coverage"
    ]
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
    """The metric that ranks epochs and trials; default accuracy, f1 for labels, rmse or, with quantiles, pinball."""
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


class LimitsConfig(Section):
    """What a column may differ by: the statistic that is furthest above its limit judges it; null takes one out."""

    js: Annotated[float, Field(gt=0, lt=1)] | None = 0.1
    """Jensen-Shannon distance, base 2; every column."""
    wasserstein: Annotated[float, Field(gt=0)] | None = 0.1
    """Wasserstein-1 in standard deviations of the reference; numbers and times."""
    linf: Annotated[float, Field(gt=0, lt=1)] | None = 0.1
    """What one category gained or lost of all rows; categories."""
    mmd: Annotated[float, Field(gt=0, lt=1)] | None = 0.1
    """Maximum mean discrepancy; embeddings."""
    ks: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Kolmogorov-Smirnov; numbers and times."""
    psi: Annotated[float, Field(gt=0)] | None = None
    """Population stability index; every column."""


class MonitorConfig(Section):
    """What counts as drift."""

    window_minutes: Annotated[float, Field(gt=0)] = 60
    """The captured predictions of this long are one window."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A smaller window gives no verdict."""
    limits: LimitsConfig = LimitsConfig()
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of false discoveries among the columns called drifted."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of drifted columns from which the whole data set counts as drifted."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """By this share of its reference a metric may be worse before its loss counts as performance drift."""
    label_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """A window with a smaller share of the labels that its predictions will get in the end is immature."""


class RetrainConfig(Section):
    """When a pipeline run starts by itself."""

    on_drift: bool = True
    on_performance: bool = False
    """True lets performance drift, measured on labels that came in, start a run too."""
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
        if self.train.class_weights != "none" and self.task.kind != "classification":
            rule = f"{self.train.class_weights!r} needs classes, but task.kind is {self.task.kind}"
            raise BrokenRule(rule, "train", "class_weights")
        if self.train.input == "stream" and self.task.use == "forecast":
            rule = "'stream' reads rows in pieces, but task.use 'forecast' cuts windows of whole series: use memory"
            raise BrokenRule(rule, "train", "input")
        if self.validate_.metric == "coverage":
            raise BrokenRule("'coverage' ranks nothing: more of it is not better; use pinball", "validate", "metric")
        self.search.check_beside(known, gpu=self.train.gpu)
        return self

    @property
    def endpoint(self) -> str:
        """The name under which versions are served."""
        return self.serve.endpoint or self.name

    @property
    def metric(self) -> str:
        """The metric that ranks epochs and trials."""
        default = "pinball" if "quantiles" in self.task.params else DEFAULT_METRIC[self.task.kind]
        return self.validate_.metric or default
