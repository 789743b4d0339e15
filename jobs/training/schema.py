"""Learns from a part of a snapshot what a training must know before its first step: schema, weights of classes."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...platform.model.distinct import columns_of_all, distinct_columns
from ...platform.model.schema import Schema, fit_schema
from ...platform.model.weights import weights_by_class
from ...platform.project import Project
from .plan import Plan
from .reader import PartRows


def learn_schema(part: PartRows, project: Project, seed: int) -> Schema:
    """The schema of a part's rows; its numbers are those of a sample where the part is read in pieces and is large.

    Classes, labels and categories are those of all rows. Raises InvalidInput as `fit_schema`.
    """
    data = project.data
    sample = part.sample([name for name in part.names if name not in data.not_features or name == data.target], seed)
    if sample.num_rows == part.count:
        return fit_schema(sample, project)
    tables = part.tables(columns_of_all(sample.schema, project))
    return fit_schema(sample, project, distinct_columns(tables, project))


def with_class_weights(plan: Plan, project: Project, schema: Schema, part: PartRows) -> Plan:
    """The plan, and what each class counts where the project balances them."""
    if project.train.class_weights == "none":
        return plan
    counts_K = torch.zeros(len(schema.target.classes), dtype=torch.int64)
    for table in part.tables([schema.target.name]):
        codes = torch.tensor(schema.encode_target(table.column(schema.target.name)))
        counts_K += torch.bincount(codes, minlength=len(counts_K))
    return replace(plan, weights_by_class=tuple(weights_by_class(counts_K).tolist()))
