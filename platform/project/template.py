"""The commented project file that `rayloop init` writes, and the JSON Schema that editors read."""

from __future__ import annotations

import json
from typing import Any

import yaml

from .file import Loader
from .schema import Project

_TEMPLATE = """\
# One prediction problem. `rayloop check` validates this file; every key below is at its default
# unless it says otherwise.
# yaml-language-server: $schema=./rayloop.schema.json
name: {name}                   # also the model's name in the registry

data:
  source: {source}             # a Parquet or CSV file, a folder of them, or a glob
  target: {target}             # the column to predict; no null, no NaN
  # key: customer_id           # rows of one key never part between train and test
  # time: happened_at          # when a row happened; not a feature
  # sensitive: [sex]           # kept for fairness checks, never features
  # ignore: [comment]          # not features
  quality: warn                # new data beside the snapshot before: warn, refuse or off
  split:
    by: key                    # key: by hash, or time: the last rows test
    validation: 0.15
    test: 0.15

task:
  kind: {kind}                 # classification or regression
  use: tabular                 # or image, sequence, forecast, or your own task, as module:Class beside this file
  params: {{hidden: [256, 128], dropout: 0.3}}

train:
  workers: 1
  gpu: false                   # true gives each worker a GPU
  epochs: 20
  batch_size: 256              # rows of one step over all workers together
  learning_rate: 0.001
  precision: fp32              # or bf16, fp16
  # schedule: cosine           # or linear, plateau; warmup_steps: 100
  # early_stopping: {{patience: 5}}
  seed: 0                      # docs/training.md has the rest: fsdp, accumulate, ema, compile, checkpoint, input

search:
  trials: 8
  concurrent: 2
  searcher: tpe                # or cma-es, random, grid
  scheduler: asha              # or median, pbt, none
  # objectives: [{metric}, cpu_seconds]  # several: a Pareto set, and a winner by docs/search.md
  space:
    learning_rate: {{loguniform: [0.0003, 0.03]}}
    dropout: {{uniform: [0.1, 0.5]}}
    # hidden: {{choice: [[64], [128, 64]]}}
    # embedding: {{int: [4, 16], when: {{hidden: [[128, 64]]}}}}  # exists beside that one alone

validate:
  gates:                       # bounds on held-out rows that a version must keep before it is served
    - {{metric: {metric}, max_loss_to_champion: {margin}}}

serve:
  cpus: 0.5
  # replicas: 2                # of each version, 1 by default
  # autoscale: {{min: 0, max: 8}}  # instead of replicas: as many as the load asks for
  sticky: {{header: x-session-id}}   # or {{cookie: NAME}}: the same value reaches the same version
  # aliases: [other-name]      # further names of the same endpoint
  canary: {{share: 10, min_requests: 100}}

monitor:
  window_minutes: 60
  min_rows: 200
  limits: {{js: 0.1, wasserstein: 0.1, linf: 0.1}}  # and ks, psi, mmd: see docs/drift.md

retrain:
  on_drift: true               # a drift verdict starts a pipeline run
  on_performance: false        # so does performance drift, measured on labels
  cooldown_minutes: 60
"""


def template(name: str, source: str = "data.parquet", target: str = "label", kind: str = "classification") -> str:
    """The text of a new project file; it passes `parse_project`."""
    classification = kind == "classification"
    metric, margin = ("accuracy", "0.01") if classification else ("rmse", "0.1")
    return _TEMPLATE.format(
        name=_scalar(name), source=_scalar(source), target=_scalar(target), kind=kind, metric=metric, margin=margin
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the project file."""
    schema = Project.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "rayloop project"}


def _scalar(text: str) -> str:
    """The text as YAML reads it back: in quotes where it would be a number, a truth value or more than one thing."""
    try:
        plain = yaml.load(f"key: {text}  # comment", Loader=Loader) == {"key": text}  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError):
        plain = False
    return text if plain else json.dumps(text)
