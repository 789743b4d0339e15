"""The verb `drift`: an endpoint's captured predictions against their reference, or Parquet files against others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..platform.errors import InvalidInput
from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace
    from .drift_files import DriftRequest


@click.command()
@click.argument("name", required=False)
@click.option("--version", type=int, help="[the one with most traffic]")
@click.option("--since", type=float, help="begin of the window, seconds since 1970 [monitor.window_minutes ago]")
@click.option("--until", type=float, help="end of the window, seconds since 1970 [now]")
@click.option("--reference", help="instead of an endpoint: Parquet file, folder, glob or s3:// URI, or a .profile")
@click.option("--current", help="what is held against the reference: Parquet file, folder, glob or s3:// URI")
@click.option("--columns", help="columns to compare, with commas between [all]")
@click.option("--time", "time_column", help="column by which --since and --until choose rows of the window")
@click.option("--compat", type=click.Choice(["evidently"]), help="choose tests and verdicts as Evidently does")
@click.option("--calibrate", is_flag=True, help="limits from ten parts of the reference, in place of fixed ones")
@click.option("--multivariate", is_flag=True, help="look at the columns together too, on a sample of both sides")
@click.option("--unit-mib", type=click.IntRange(min=1), help="decoded MiB that one task of the cluster counts [256]")
@click.option("--local", is_flag=True, help="count files on this machine, without a cluster")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="write the report there too")
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="write it as a page too")
@with_workspace
def drift(
    workspace: Workspace,
    name: str | None,
    json_file: Path | None,
    html_file: Path | None,
    local: bool,
    **options: Any,
) -> None:
    """Hold captured predictions, or any Parquet files, against a reference.

    `rayloop drift NAME` judges an endpoint; a drift verdict fires its trigger. `rayloop drift --reference a.parquet
    --current b.parquet` judges files.
    """
    if (name is None) == (options["reference"] is None):
        raise InvalidInput("name an endpoint, or files by --reference and --current: one of the two")
    if name is not None:
        _of_endpoint(workspace, name, options, json_file, html_file)
    else:
        _of_files(workspace, _request(options), local, json_file, html_file)


def _of_endpoint(
    workspace: Workspace, name: str, options: dict[str, Any], json_file: Path | None, html_file: Path | None
) -> None:
    from .drift_table import show_drift
    from .remote import run_remote

    given = {"--version": options["version"], "--since": options["since"], "--until": options["until"]}
    arguments = [str(part) for key, value in given.items() if value is not None for part in (key, value)]
    result = run_remote(workspace, "drift", [name, *arguments], click.echo)
    _copy(workspace, result["folder"], json_file, html_file)
    show_drift(result)


def _request(options: dict[str, Any]) -> DriftRequest:
    from ..platform.stats import TimeRange
    from .drift_files import DriftRequest

    if options["current"] is None:
        raise InvalidInput("--current is missing: name the Parquet files to hold against --reference")
    if options["version"] is not None:
        raise InvalidInput("--version belongs to an endpoint, and there is none here")
    times = None
    since, until = options["since"], options["until"]
    if options["time_column"] is not None:
        times = TimeRange(options["time_column"], since or 0.0, 2**53 if until is None else until)
    elif since is not None or until is not None:
        raise InvalidInput("--since and --until need --time, the column that they are about")
    columns = tuple(part.strip() for part in (options["columns"] or "").split(",") if part.strip())
    reference, current = (_absolute(options[name]) for name in ("reference", "current"))
    return DriftRequest(
        reference,
        current,
        columns,
        times,
        compat=options["compat"],
        calibrated=options["calibrate"],
        multivariate=options["multivariate"],
        unit_mib=options["unit_mib"],
    )


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _of_files(
    workspace: Workspace, request: DriftRequest, local: bool, json_file: Path | None, html_file: Path | None
) -> None:
    from .drift_files import count_here, judge_files, keep
    from .drift_table import show_drift
    from .remote import run_remote

    if local:
        result = keep(workspace.store, request, judge_files(request, count_here))
    else:
        result = run_remote(workspace, "drift_files", [request.to_json()], click.echo)
    _copy(workspace, result["folder"], json_file, html_file)
    show_drift(result)
    click.echo(f"kept: {workspace.store.shown(result['folder'])}")


def _copy(workspace: Workspace, folder: str, json_file: Path | None, html_file: Path | None) -> None:
    for file, name in ((json_file, "report.json"), (html_file, "report.html")):
        if file is not None:
            try:
                file.write_bytes(workspace.store.read(f"{folder}/{name}"))
            except OSError as error:
                raise InvalidInput(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None
