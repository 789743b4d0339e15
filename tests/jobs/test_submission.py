"""Runs are started, stopped and resumed by their key; whatever can't be is one sentence, and submits nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import rayloop.jobs
from click.testing import CliRunner
from rayloop.cli import main
from rayloop.cluster import Cluster
from rayloop.jobs import TrainResult, submission
from rayloop.jobs.report import RESULT_SIGN, Progress
from rayloop.jobs.run_tables import differences, headline
from rayloop.jobs.steward import job_id
from rayloop.platform.errors import Conflict, NotFound
from rayloop.platform.settings import Settings
from rayloop.platform.state import Run
from rayloop.platform.workspace import Workspace

from .conftest import Known

RESULT = {
    "model": "toy",
    "version": 3,
    "passed": True,
    "metrics": {"accuracy": 0.75},
    "sha256": "a" * 64,
    "key": "k",
    "run_id": "m1",
    "snapshot": "s",
    "wall_s": 2.5,
    "validation": 0.7,
    "last_epoch": {},
}
PROGRESS = Progress(1, 2, None, {"train_loss": 0.5})


class FakeCluster:
    """Ray's jobs by their name; a submitted one ends at once with a result."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.submitted: list[tuple[str, str, set[str]]] = []

    def submit(
        self, entrypoint: str, *, submission_id: str | None = None, working_dir: Any = None, env: Any = None
    ) -> str:
        name = submission_id or "raysubmit_1"
        self.submitted.append((name, entrypoint, {path.name for path in Path(working_dir).iterdir()}))
        self.states[name] = "SUCCEEDED"
        return name

    def logs(self, job: str, *, follow: bool = False) -> Iterator[str]:
        yield "[rayloop] training"
        yield '[rayloop:progress] {"epoch": 1, "epochs": 2, "left_s": null, "metrics": {"train_loss": 0.5}}'
        yield RESULT_SIGN + json.dumps(RESULT)

    def job_state(self, job: str) -> str:
        if job not in self.states:
            raise NotFound(f"no job {job!r}")
        return self.states[job]

    def cancel(self, job: str) -> None:
        self.states[job] = "STOPPED"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    monkeypatch.setattr(Cluster, "connect", classmethod(lambda cls, address=None, settings=None: found))
    return found


@pytest.fixture
def project(known: Known) -> Path:
    (known.source.parent / "rayloop.yaml").write_text(
        "name: toy\ndata: {source: data.parquet, target: y, key: id}\ntask: {params: {hidden: [16]}}\n"
    )
    return known.source.parent


def save(workspace: Workspace, known: Known, **fields: Any) -> Run:
    tags = {"rayloop.snapshot": known.snapshot.digest, "rayloop.code": known.code}
    run = Run(
        **{"key": "toy-train-1", "project": "toy", "kind": "train", "jobs": ("toy-train-1",), "tags": tags, **fields}
    )
    workspace.runs.save(run)
    return run


def quiet(_: Any) -> None:
    pass


def test_the_python_api_trains_and_gives_a_typed_result(
    cluster: FakeCluster, project: Path, known: Known, own_home: Path
) -> None:
    seen: list[Progress] = []
    lines: list[str] = []
    settings = Settings.load({}, home=own_home)
    result = rayloop.jobs.train(project, key="k", settings=settings, on_progress=seen.append, on_line=lines.append)
    assert isinstance(result, TrainResult)
    assert (result.version, result.metrics, result.sha256, result.run_id, result.wall_s, result.passed) == (
        3,
        {"accuracy": 0.75},
        "a" * 64,
        "m1",
        2.5,
        True,
    )
    assert (seen, lines) == ([PROGRESS], ["job k", "training"])
    ((job, entrypoint, files),) = cluster.submitted
    assert (job, entrypoint) == ("k", f"python -m rayloop.jobs.train --snapshot {known.snapshot.digest} --key k")
    assert {"rayloop.yaml", "mine.py"} <= files
    with pytest.raises(FrozenInstanceError):
        result.version = 4  # type: ignore[misc]


def test_the_api_is_the_same_once_the_job_s_module_is_imported(
    cluster: FakeCluster, project: Path, own_home: Path
) -> None:
    import rayloop.jobs.train as module

    assert module.main.name == "main"
    assert rayloop.jobs.train(str(project), settings=Settings.load({}, home=own_home)).version == 3
    assert cluster.submitted[0][0].startswith("toy-train-")


def test_importing_the_api_costs_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, rayloop.jobs; "
        "print([n for n in ('ray', 'torch', 'mlflow', 'numpy', 'pyarrow', 'pydantic', 'click') if n in sys.modules]); "
        "rayloop.jobs.train; print([n for n in ('ray', 'torch', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rayloop.jobs.nothing  # noqa: B018


def test_a_key_that_is_under_way_is_refused(
    cluster: FakeCluster, workspace: Workspace, project: Path, known: Known
) -> None:
    save(workspace, known)
    cluster.states["toy-train-1"] = "RUNNING"
    with pytest.raises(Conflict, match="run toy-train-1 is under way: `rayloop logs toy-train-1 -f` follows it"):
        submission.start(workspace, "train", project / "rayloop.yaml", None, "toy-train-1", quiet, quiet)
    assert cluster.submitted == []


def test_a_killed_run_goes_on_as_another_job(cluster: FakeCluster, workspace: Workspace, known: Known) -> None:
    run = save(workspace, known)
    cluster.states["toy-train-1"] = "FAILED"
    _, result = submission.resume(workspace, run, quiet, quiet)
    assert result["version"] == 3
    ((job, entrypoint, files),) = cluster.submitted
    assert job == "toy-train-1-2"
    assert entrypoint.endswith(f"--snapshot {known.snapshot.digest} --key toy-train-1")
    assert "mine.py" in files


def test_a_job_that_failed_before_its_record_leaves_its_name_to_no_other(
    cluster: FakeCluster, workspace: Workspace, project: Path
) -> None:
    cluster.states |= {"k": "FAILED", "k-2": "FAILED"}
    submission.start(workspace, "tune", project / "rayloop.yaml", None, "k", quiet, quiet)
    ((job, entrypoint, _),) = cluster.submitted
    assert job == "k-3"
    assert entrypoint.endswith("--key k")


@pytest.mark.parametrize(
    ("fields", "job_state", "error", "words"),
    [
        ({}, "RUNNING", Conflict, "is under way"),
        ({"state": "finished", "version": 4}, "SUCCEEDED", Conflict, "has ended well: it is toy v4"),
        ({"state": "failed", "kind": "reproduce"}, "FAILED", Conflict, "is a reproduce, which can't be resumed"),
        ({"state": "failed", "tags": {}}, "FAILED", NotFound, "kept neither code nor data"),
    ],
)
def test_what_can_t_be_resumed_is_one_sentence(
    cluster: FakeCluster, workspace: Workspace, known: Known, fields: Any, job_state: str, error: type, words: str
) -> None:
    run = save(workspace, known, **fields)
    cluster.states["toy-train-1"] = job_state
    with pytest.raises(error, match=words):
        submission.resume(workspace, run, quiet, quiet)
    assert cluster.submitted == []


@pytest.mark.parametrize("verb", ["stop", "resume"])
def test_a_pipeline_s_run_is_the_steward_s(cluster: FakeCluster, workspace: Workspace, known: Known, verb: str) -> None:
    pipeline = workspace.pipelines.create("toy", "manual", "by hand")
    state = "running" if verb == "stop" else "failed"
    run = save(workspace, known, key=f"{pipeline.id}-train", jobs=("pipeline-1",), state=state)
    cluster.states["pipeline-1"] = "RUNNING" if verb == "stop" else "FAILED"
    ask = {
        "stop": lambda: submission.stop(workspace, run),
        "resume": lambda: submission.resume(workspace, run, quiet, quiet),
    }
    with pytest.raises(Conflict, match=f"is a step of pipeline run {pipeline.id}.* can't {verb} it"):
        ask[verb]()
    assert cluster.states["pipeline-1"] != "STOPPED"


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own query
def test_a_run_is_stopped_and_says_so(cluster: FakeCluster, workspace: Workspace, known: Known) -> None:
    run = save(workspace, known)
    workspace.runs.progress(run.key, 3, 9, {"train_loss": 0.5})
    cluster.states["toy-train-1"] = "RUNNING"
    stopped = submission.stop(workspace, run)
    assert (stopped.state, stopped.epoch, cluster.states["toy-train-1"]) == ("stopped", 3, "STOPPED")
    with pytest.raises(Conflict, match="run toy-train-1 has ended already: stopped"):
        submission.stop(workspace, workspace.runs.get(run.key))


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "had trained to its end, and is stopped before it was registered: `rayloop resume"),
        (3, "has ended already"),
    ],
)
def test_a_run_that_ends_while_it_is_stopped_says_how(
    cluster: FakeCluster, workspace: Workspace, known: Known, version: int | None, words: str
) -> None:
    run = save(workspace, known)
    cluster.states["toy-train-1"] = "RUNNING"

    def cancel(job: str) -> None:  # its last step was quicker
        workspace.runs.change(run.key, state="finished", version=version)
        cluster.states[job] = "STOPPED"

    cluster.cancel = cancel  # type: ignore[method-assign]
    with pytest.raises(Conflict, match=f"^run toy-train-1 {words}"):
        submission.stop(workspace, run)


def test_a_job_that_is_no_run_is_stopped_by_its_whole_name(cluster: FakeCluster, workspace: Workspace) -> None:
    cluster.states |= {"toy-train-9": "RUNNING", "old": "SUCCEEDED"}
    assert CliRunner().invoke(main, ["stop", "toy-train-9"]).stdout == "job toy-train-9 is stopped: it had no run yet\n"
    assert cluster.states["toy-train-9"] == "STOPPED"
    for name, code, sentence in (
        ("toy-train-9", 4, "job toy-train-9 has ended already: stopped"),
        ("old", 4, "job old has ended already: succeeded"),
        ("nothing", 3, "no run 'nothing' is known here: `rayloop runs` lists them"),
    ):
        found = CliRunner().invoke(main, ["stop", name])
        assert (found.exit_code, found.stderr) == (code, f"error: {sentence}\n")


def test_a_pipeline_s_job_is_the_steward_s(cluster: FakeCluster, workspace: Workspace, known: Known) -> None:
    run = workspace.pipelines.create("toy", "manual", "by hand")
    workspace.pipelines.set_state(run.id, "running", attempt=True)
    job = job_id(run.id, 1)
    cluster.states[job] = "RUNNING"
    with pytest.raises(Conflict, match=f"job {job} is one of a pipeline run, which the steward would start again"):
        submission.stop_job(workspace, job)
    assert cluster.states[job] == "RUNNING"


def test_a_run_is_found_by_a_job_of_it_too(workspace: Workspace, known: Known) -> None:
    save(workspace, known, jobs=("toy-train-1", "toy-train-1-2"))
    assert workspace.runs.find("toy-train-1-2").key == "toy-train-1"


def test_who_leaves_is_told_what_goes_on(cluster: FakeCluster, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def logs(job: str, *, follow: bool = False) -> Iterator[str]:
        yield "[rayloop] training"
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "logs", logs)
    monkeypatch.chdir(project)
    found = CliRunner().invoke(main, ["train"])
    ((job, _, _),) = cluster.submitted
    assert found.exit_code == 130
    assert found.stderr == f"job {job} goes on: `rayloop logs {job} -f` follows it, `rayloop stop {job}` ends it\n"
    assert cluster.states[job] != "STOPPED"


@pytest.mark.parametrize(
    ("job_state", "state"),
    [("RUNNING", "running"), ("PENDING", "running"), ("STOPPED", "stopped"), ("FAILED", "failed"), (None, "stopped")],
)
def test_a_run_is_seen_as_its_job_stands(cluster: FakeCluster, job_state: str | None, state: str) -> None:
    if job_state is not None:
        cluster.states["j"] = job_state
    fake: Any = cluster
    assert submission.observed(Run("k", "toy", "train", jobs=("j",)), fake).state == state
    assert submission.observed(Run("k", "toy", "train", jobs=("j",), state="finished"), fake).state == "finished"
    assert submission.observed(Run("k", "toy", "train"), fake).state == "running"


def runs(*params: dict[str, str], metrics: Sequence[dict[str, float]] = ({}, {})) -> list[Run]:
    return [
        Run(str(n), "toy", "train", params=p, metrics=m) for n, (p, m) in enumerate(zip(params, metrics, strict=True))
    ]


def test_only_differences_are_compared() -> None:
    found = runs(
        {"epochs": "3", "seed": "0"},
        {"epochs": "4", "seed": "0", "dropout": "0.1"},
        metrics=[{"train_loss": 0.5, "time/epoch_s": 1.0}, {"train_loss": 0.25, "time/epoch_s": 2.0}],
    )
    assert differences(found) == [("dropout", ["", "0.1"]), ("epochs", ["3", "4"]), ("train_loss", ["0.5", "0.25"])]
    assert [name for name, _ in differences(found, every=True)] == [
        "dropout",
        "epochs",
        "seed",
        "time/epoch_s",
        "train_loss",
    ]


def test_a_run_stands_for_its_best_known_metric() -> None:
    assert headline({"validation_accuracy": 0.5, "test_accuracy": 0.25, "train_loss": 1.0}) == "accuracy 0.2500"
    assert headline({"validation_rmse": 2.0, "train_loss": 1.0}) == "rmse 2.0000"
    assert headline({"train_loss": 1.0}) == "train_loss 1.0000"
    assert headline({}) == ""
