"""A search's rows as tensors, read once by a process for all the trials that it runs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...platform.data import Store, open_snapshot
from ...platform.model.schema import Schema
from ...platform.model.task import Task, find_task
from ...platform.project import Project
from ..training.data import Rows, encode_rows, part_tables


def open_rows(shared: Mapping[str, Any], device: str) -> tuple[Task, Rows, Rows]:
    """The task, the rows to train on, and those that compare trials."""
    return _open(shared["project"], json.dumps(shared["schema"]), shared["store"], shared["snapshot"], device)


@functools.lru_cache(maxsize=1)
def _open(project_json: str, schema_json: str, store: str, snapshot: str, device: str) -> tuple[Task, Rows, Rows]:
    project = Project.model_validate_json(project_json)
    schema = Schema.from_dict(json.loads(schema_json))
    task = find_task(project.task.use, Path.cwd())
    tables = part_tables(open_snapshot(Store(store), snapshot), project)
    there = torch.device(device)
    rows, held_out = (encode_rows(task, schema, tables[part]).to(there) for part in ("train", "validation"))
    return task, rows, held_out
