"""What a training knows before anything starts: its schema and class weights, or why its rows can't be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from ...platform.data.split import Part
from ...platform.errors import InvalidInput
from ...platform.model.distinct import columns_of_all, distinct_columns
from ...platform.model.schema import Schema, fit_schema
from ...platform.model.weights import weights_by_class
from ...platform.project import Project
from .plan import Plan
from .reader import PartRows

HELD_OUT: tuple[Part, ...] = ("validation", "test")
SAMPLE_ROWS = 1_000_000
"""Training rows that a schema's numbers are learnt from, where all of them are not in memory."""


def prepare(plan: Plan, project: Project, parts: Mapping[Part, PartRows]) -> tuple[Schema, Plan]:
    """The schema of the training rows, and the plan with what each class counts.

    Raises InvalidInput where a batch is larger than the training rows, where these can't be learnt from, and where
    the held-out rows can't be judged by what these teach.
    """
    require_batch(plan.batch_size, parts["train"].count)
    schema = learn_schema(parts["train"], project, plan.seed)
    require_judged(schema, parts)
    return schema, with_class_weights(plan, project, schema, parts["train"])


def require_batch(batch_size: int, rows: int) -> None:
    """Raise InvalidInput where a batch would have more rows than there are."""
    if batch_size > rows:
        raise InvalidInput(f"train.batch_size is {batch_size}, but there are {rows} rows to train on: lower it")


def learn_schema(train: PartRows, project: Project, seed: int) -> Schema:
    """The schema of the training rows; of a large part that is read in pieces its numbers are those of a sample.

    Classes, labels and categories are those of all rows. Raises InvalidInput as `fit_schema`.
    """
    data = project.data
    names = [name for name in train.names if name not in data.not_features or name == data.target]
    sample = train.sample(names, seed, SAMPLE_ROWS)
    if sample.num_rows == train.count:
        return fit_schema(sample, project)
    tables = train.tables(columns_of_all(sample.schema, project))
    return fit_schema(sample, project, distinct_columns(tables, project))


def require_judged(schema: Schema, parts: Mapping[Part, PartRows]) -> None:
    """Raise InvalidInput for a class, or a value, of the held-out rows that no training row could teach.

    Found later, it would end the run after its first epoch, or after its last one.
    """
    for part in HELD_OUT:
        try:
            for table in parts[part].tables([schema.target.name]):
                schema.encode_target(table.column(schema.target.name))
        except InvalidInput as fault:
            remedy = "; add training rows of it, leave it out, or change data.split" if schema.target.classes else ""
            raise InvalidInput(f"the {part} rows can't be judged: {fault}{remedy}") from None


def with_class_weights(plan: Plan, project: Project, schema: Schema, train: PartRows) -> Plan:
    """The plan, and what each class counts where the project balances them."""
    if project.train.class_weights == "none":
        return plan
    counts_K = torch.zeros(len(schema.target.classes), dtype=torch.int64)
    for table in train.tables([schema.target.name]):
        codes = torch.tensor(schema.encode_target(table.column(schema.target.name)))
        counts_K += torch.bincount(codes, minlength=len(counts_K))
    return replace(plan, weights_by_class=tuple(weights_by_class(counts_K).tolist()))
