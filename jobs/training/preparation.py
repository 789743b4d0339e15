"""What a training knows before anything starts: its schema and class weights, or why its rows can't be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from ...platform.data.split import Part
from ...platform.errors import InvalidInput
from ...platform.model.schema import Schema, fit_schema
from ...platform.model.weights import weights_by_class
from ...platform.project import Project
from .plan import Plan

HELD_OUT: tuple[Part, ...] = ("validation", "test")


def prepare(plan: Plan, project: Project, parts: Mapping[Part, pa.Table]) -> tuple[Schema, Plan]:
    """The schema of the training rows, and the plan with what each class counts.

    Raises InvalidInput where a batch is larger than the training rows, where these can't be learnt from, and where
    the held-out rows can't be judged by what these teach.
    """
    require_batch(plan.batch_size, parts["train"])
    schema = fit_schema(parts["train"], project)
    require_judged(schema, parts)
    return schema, with_class_weights(plan, project, schema, parts["train"])


def require_batch(batch_size: int, train_table: pa.Table) -> None:
    """Raise InvalidInput where a batch would have more rows than there are."""
    if batch_size > train_table.num_rows:
        raise InvalidInput(
            f"train.batch_size is {batch_size}, but there are {train_table.num_rows} rows to train on: lower it"
        )


def require_judged(schema: Schema, parts: Mapping[Part, pa.Table]) -> None:
    """Raise InvalidInput for a class, or a value, of the held-out rows that no training row could teach.

    Found later, it would end the run after its first epoch, or after its last one.
    """
    for part in HELD_OUT:
        try:
            schema.encode_target(parts[part].column(schema.target.name))
        except InvalidInput as fault:
            remedy = "; add training rows of it, leave it out, or change data.split" if schema.target.classes else ""
            raise InvalidInput(f"the {part} rows can't be judged: {fault}{remedy}") from None


def with_class_weights(plan: Plan, project: Project, schema: Schema, train_table: pa.Table) -> Plan:
    """The plan, and what each class counts where the project balances them."""
    if project.train.class_weights == "none":
        return plan
    codes = torch.from_numpy(np.array(schema.encode_target(train_table.column(schema.target.name))))
    weights = weights_by_class(codes, len(schema.target.classes))
    return replace(plan, weights_by_class=tuple(weights.tolist()))
