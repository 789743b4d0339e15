"""The verb that validates a project before anything runs: its file, its source, and, on request, its task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..platform.data.source import SourceFile
    from ..platform.project import Project

BATCH_ROWS = 32
"""Rows that a task is tried on."""


@click.command()
@click.option("--schema", is_flag=True, help="print the JSON Schema of the project file instead")
@click.option("--task", is_flag=True, help="run some of the source's rows through every method of the task, too")
def check(schema: bool, task: bool) -> None:
    """Validate the project file, and its source's columns, target and types."""
    from ..platform.data import check_file, read_source_files
    from ..platform.project import find_project, json_schema, load_project

    if schema:
        click.echo(json.dumps(json_schema(), indent=1))
        return
    path = find_project()
    project = load_project(path)
    files = []
    rows = 0
    for file in read_source_files(project.data.source):
        check_file(file, project)
        rows += file.rows
        files += [file] if task else []
    click.echo(f"{path.name} is sound: {rows} rows, target {project.data.target!r}, {project.task.kind}")
    if task:
        for line in check_task_of(project, files, path.parent.absolute()):
            click.echo(line)


def check_task_of(project: Project, files: Sequence[SourceFile], folder: Path) -> list[str]:
    """Fit the schema on the training rows, as a training would, and hold the task to its contract on some of them.

    Returns what was found, in lines. Raises InvalidInput for rows that can't be learnt from or judged by, and
    BrokenContract for the first fault of the task.
    """
    import pyarrow as pa

    from ..platform.data import PARTS, assign_parts
    from ..platform.errors import InvalidInput
    from ..platform.model.contract import Trial, check_task
    from ..platform.model.schema import fit_schema, framed, table_columns
    from ..platform.model.task import find_task
    from .training.preparation import require_judged
    from .training.reader import PartTable

    task = find_task(project.task.use, folder)
    table = pa.concat_tables([file.table.replace_schema_metadata(None) for file in files])
    keys = [(file.hashed()[0], file.rows) for file in files]
    places = assign_parts(table, project.data, keys)
    parts = {part: framed(table.filter(pa.array(places == place)), project) for place, part in enumerate(PARTS)}
    schema = fit_schema(parts["train"], project)
    require_judged(schema, {part: PartTable(rows) for part, rows in parts.items()})
    rows = parts["train"].slice(0, BATCH_ROWS)
    if rows.num_rows < 2:
        raise InvalidInput(f"the training part has {rows.num_rows} row; the task is tried on 2 or more")
    columns = table_columns(rows, [feature.name for feature in schema.features])
    target = schema.encode_target(rows.column(schema.target.name))
    found = check_task(Trial(project.task.use, task, schema, project.task.params, columns, target))
    notes = [f"note: column {name!r} has one value only in the training rows" for name in schema.constants]
    return [*notes, *found, f"task {project.task.use!r} keeps its contract on {rows.num_rows} rows"]
