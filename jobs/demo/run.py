"""Tells the loop from beginning to end: every step calls what the command line calls, and is timed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ...platform.errors import RayloopError
from ...platform.project import FILE_NAME, load_project
from ...platform.settings import Settings
from ...platform.workspace import Workspace
from .. import services, serving
from ..data import add_data, remember_project
from ..drift_table import show_drift
from ..remote import run_remote
from ..terminal import console, follow_pipeline, make_table, show_addresses
from .camera import load_parts
from .project import FOLDER, add_rows, make_project
from .traffic import Asked, Traffic, ask

REQUESTS = 2_000
REQUESTS_AFTER = 1_000
TRAFFIC_PER_S = 150.0


class DemoFailed(RayloopError):
    """A step of the demo did not end as it must."""


class Story:
    """What happened so far, with timings."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float]] = []
        self.began_s = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it runs; what it says last is its result."""
        began_s = time.monotonic()
        said = ""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        # Without a terminal nothing can move: only the line at the end of each step is printed.
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(title, total=None)

            def say(text: str) -> None:
                nonlocal said
                said = text
                progress.update(bar, description=f"[bold]{title}[/bold]  {text[:100]}")

            yield say
        seconds = time.monotonic() - began_s
        self.rows.append((title, said, seconds))
        console.print(f"[green]✓[/green] [bold]{title}[/bold]  {said}  [dim]{seconds:.1f} s[/dim]")

    def show(self) -> None:
        """The table of what happened."""
        table = make_table("step", "what happened", ">seconds")
        for title, said, seconds in self.rows:
            table.add_row(title, said, f"{seconds:.1f}")
        table.add_row("in all", "", f"{time.monotonic() - self.began_s:.1f}")
        console.print()
        console.print(table)


def run_demo(home: Path | None, folder: Path | None, exit_after: bool) -> None:
    """Run the demo in `folder`; everything it starts ends with it, or at Ctrl-C.

    Raises DemoFailed where a step does not end as it must.
    """
    folder = (folder or Path(FOLDER)).absolute()
    home = home or folder / ".rayloop"
    # As `kill` and `make` do: the clusters' processes must not outlive the demo.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    first, labelled, held_out = load_parts()
    services.require_nothing_running(Settings.load(home=home))
    services.end_dead(Settings.load(home=home))
    settings = Settings.load(home=home)
    make_project(folder, first)
    story = Story()
    try:
        with story.step("up") as say:
            services.up(settings, say=say)
            say("Ray, MLflow, Ray Serve, the edge and the steward answer")
        workspace = Workspace(Settings.load(home=home))
        before, under, after = _loop(workspace, folder, story, labelled, held_out)
        story.show()
        _show_end(workspace, folder, before, under, after)
        if not exit_after:
            console.print("\nEverything is still running. Ctrl-C ends it.")
            signal.pause()
    except KeyboardInterrupt:
        console.print("\nending everything …")
    finally:
        if services.is_up(settings):
            services.down(settings)


def _loop(workspace: Workspace, folder: Path, story: Story, labelled: Any, held_out: Any) -> tuple[Asked, Asked, Asked]:
    url = workspace.settings.edge_url
    project = load_project(folder / FILE_NAME)
    with story.step("data") as say:
        remember_project(workspace, project, folder)
        snapshot = add_data(workspace, project).snapshot
        say(f"snapshot {snapshot.digest[:12]}: {snapshot.manifest.rows} images")
    code = workspace.projects.load(project.name)[1]
    with story.step("train") as say:
        trained = run_remote(workspace, "train", ["--snapshot", snapshot.digest], say, code)
        say(f"2 workers: v{trained['version']}, {_gates(trained)}, held-out accuracy {_accuracy(trained)}")
    with story.step("tune") as say:
        tuned = run_remote(workspace, "tune", ["--snapshot", snapshot.digest], say, code)
        trials = tuned["trials"]
        say(f"{trials} trials: v{tuned['version']}, {_gates(tuned)}, held-out accuracy {_accuracy(tuned)}")
    best = max((trained, tuned), key=_rank)
    with story.step("deploy") as say:
        serving.deploy(workspace, project.endpoint, int(best["version"]), say)
        say(f"v{best['version']} serves at {url}/v2/models/digits/infer")
    with story.step("serve") as say:
        before = ask(url, held_out, REQUESTS)
        say(_describe(before))
    with story.step("the camera is knocked") as say:
        knocked = held_out.through_knocked_camera()
        since_s = time.time()
        under = ask(url, knocked, REQUESTS_AFTER)
        say(_describe(under))
    with story.step("labels arrive") as say:
        add_rows(folder, "2-after-the-change", labelled.through_knocked_camera())
        say(f"{len(labelled.labels_N)} images of the knocked camera, labelled; none of those that are asked for")
    with Traffic(url, knocked, TRAFFIC_PER_S) as traffic:
        with story.step("drift") as say:
            found = run_remote(workspace, "drift", [project.endpoint, "--since", str(since_s)], say)
            drifted = [c["column"] for c in found["report"]["columns"] if c["verdict"] == "drift"]
            say(f"{found['report']['verdict']}: {len(drifted)} of {len(found['report']['columns'])} columns")
        show_drift(found, most=5)
        if not found["pipeline_run"]:
            raise DemoFailed(f"the drift verdict fired no trigger: {found['report']['reason']}")
        with story.step("retrain and canary") as say:
            code_of_run = follow_pipeline(workspace, found["pipeline_run"], say)
            run = workspace.pipelines.get(found["pipeline_run"])
            counted = ", ".join(f"v{version} {count}" for version, count in sorted(traffic.versions.items()))
            say(f"{run.state}; meanwhile answered: {counted}; failed: {traffic.failed}")
        for step in workspace.pipelines.steps(run.id):
            ended_s = step.ended_s or step.started_s
            story.rows.append((f"  {step.name}", _step_result(step.output), ended_s - step.started_s))
        if code_of_run != 0:
            raise DemoFailed(f"pipeline run {run.id} ended as {run.state}: `rayloop ledger show` says more")
    with story.step("serve again") as say:
        after = ask(url, knocked, REQUESTS_AFTER)
        say(_describe(after))
    return before, under, after


def _show_end(workspace: Workspace, folder: Path, before: Asked, under: Asked, after: Asked) -> None:
    table = make_table("accuracy of live answers, on images that no training saw", "", title=None)
    table.add_row("before the change", f"{before.accuracy:.4f}")
    table.add_row("under it", f"{under.accuracy:.4f}  (down by {before.accuracy - under.accuracy:.4f})")
    table.add_row("after retraining", f"{after.accuracy:.4f}  ({after.accuracy - before.accuracy:+.4f} to the first)")
    console.print()
    console.print(table)
    console.print()
    show_addresses(workspace.settings)
    by_hand = [
        f"cd {folder}",
        "rayloop up",
        "rayloop check && rayloop data add",
        "rayloop train && rayloop tune && rayloop versions digits",
        "rayloop deploy digits --version 1",
        f"curl {workspace.settings.edge_url}/v2/models/digits",
        "rayloop drift digits",
        "rayloop retrain digits",
        "rayloop split digits 1=90 2=10 && rayloop rollback digits",
        "rayloop ledger show && rayloop down",
    ]
    console.print("\nThe same by hand, in a new folder or in this one:", *[f"  {line}" for line in by_hand], sep="\n")


def _describe(asked: Asked) -> str:
    rate = asked.requests / asked.wall_s
    return f"{asked.requests} requests, {asked.failed} failed, {rate:.0f}/s, accuracy {asked.accuracy:.4f}"


def _accuracy(result: dict[str, Any]) -> str:
    return f"{result['metrics']['accuracy']:.4f}"


def _rank(result: dict[str, Any]) -> tuple[bool, float, float]:
    metrics = result["metrics"]
    return result["passed"], metrics["accuracy"], -metrics["log_loss"]


def _gates(result: dict[str, Any]) -> str:
    return "gates kept" if result["passed"] else "a gate BROKEN"


def _step_result(output: Any) -> str:
    for key in ("reason", "sha256", "digest", "version"):
        if key in output:
            value = str(output[key])
            return f"{key} {value[:12]}" if key in {"sha256", "digest"} else f"{value}"
    return ""
