"""The verb `quality`: infers what a table keeps, writes it, and holds a table against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..platform.errors import InvalidInput, NotFound
from .verbs import with_workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from ..platform.project import Project
    from ..platform.quality import Anomaly, ColumnConstraints, Constraints
    from ..platform.workspace import Workspace

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("source", required=False)
@click.option("--constraints", type=FILE, help="rules to hold the source against [those of the newest snapshot]")
@click.option("--import-sagemaker", type=FILE, help="take the rules of a constraints.json of SageMaker instead")
@click.option("--write", type=FILE, help="write the rules, inferred of the source where none are given, as JSON")
@click.option("--export-sagemaker", type=FILE, help="write them as a constraints.json of SageMaker")
@with_workspace
def quality(
    workspace: Workspace,
    source: str | None,
    constraints: Path | None,
    import_sagemaker: Path | None,
    write: Path | None,
    export_sagemaker: Path | None,
) -> None:
    """Hold a source (the project's, by default) against rules; exit code 1 where an anomaly is an error.

    The rules are those of a file, or what the project's newest snapshot keeps, or else what the source itself keeps:
    then they are shown.
    """
    from ..platform.quality import check, has_error, infer_constraints, to_sagemaker
    from ..platform.stats import fit_binnings, profile_table

    project = _project(source)
    rules = _given(constraints, import_sagemaker)
    table = _table(source or (project.data.source if project else ""))
    profile = profile_table(table, fit_binnings(table))
    if rules is None and write is None and export_sagemaker is None:
        rules = _of_snapshot(workspace, project)
    is_inferred = rules is None
    rules = infer_constraints(profile) if rules is None else rules
    for path, text in ((write, rules.to_json()), (export_sagemaker, to_sagemaker(rules))):
        if path is not None:
            path.write_text(text)
            click.echo(f"wrote {path}: {len(rules.columns)} columns")
    if is_inferred:
        _show_rules(rules)
        return
    anomalies = check(profile, rules, table.schema)
    _show_anomalies(anomalies, profile.rows, len(rules.columns))
    sys.exit(1 if has_error(anomalies) else 0)


def _project(source: str | None) -> Project | None:
    from ..platform.project import find_project, load_project

    try:
        return load_project(find_project())
    except NotFound:
        if source is None:
            raise
        return None


def _given(constraints: Path | None, sagemaker: Path | None) -> Constraints | None:
    from ..platform.quality import Constraints, from_sagemaker

    if constraints is not None and sagemaker is not None:
        raise InvalidInput("--constraints and --import-sagemaker both name rules: give one of the two")
    path = constraints or sagemaker
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        return Constraints.from_json(content) if constraints is not None else from_sagemaker(content)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def _of_snapshot(workspace: Workspace, project: Project | None) -> Constraints | None:
    from .data import snapshot_constraints

    known = [] if project is None else workspace.projects.snapshots(project.name)
    return snapshot_constraints(workspace, project, known[-1].digest) if project is not None and known else None


def _table(source: str) -> pa.Table:
    import pyarrow as pa

    from ..platform.data import read_source_files

    tables = [file.table.replace_schema_metadata(None) for file in read_source_files(source)]
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise InvalidInput(f"the files of {source} have different columns: {error}") from None


def _show_rules(rules: Constraints) -> None:
    from .terminal import console, make_table

    table = make_table("column", "type", ">nulls up to", "rules")
    for name, column in rules.columns.items():
        nulls = "" if column.max_null_share is None else f"{column.max_null_share:.2%}"
        table.add_row(name, column.type or "any", nulls, describe_rules(column))
    console.print(table)
    console.print(
        f"inferred from {rules.rows} rows; `--write FILE` keeps them, `--constraints FILE` checks against them"
    )


def describe_rules(column: ColumnConstraints) -> str:
    """What a column keeps, beside its type and its nulls, in a few words."""
    words = []
    if column.minimum is not None and column.maximum is not None:
        words.append(f"{column.minimum:g} to {column.maximum:g}")
    if column.max_negative_share is not None:
        words.append("not negative")
    if column.max_fraction_share is not None:
        words.append("whole")
    if column.max_not_finite_share is not None:
        words.append("finite")
    if column.domain is not None:
        words.append(f"{len(column.domain)} categories")
    if column.max_duplicate_share is not None:
        words.append("all different")
    if column.width is not None:
        words.append(f"{column.width} numbers")
    return ", ".join(words)


def _show_anomalies(anomalies: tuple[Anomaly, ...], rows: int, columns: int) -> None:
    from .terminal import console, make_table

    if not anomalies:
        console.print(f"no anomaly in {rows} rows: {columns} columns keep their rules")
        return
    table = make_table("severity", "code", "what")
    for anomaly in anomalies:
        table.add_row(anomaly.severity, anomaly.code, anomaly.reason)
    console.print(table)
