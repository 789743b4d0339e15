"""The demo's project folder: its project file, and the Parquet files that come in over time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from ...platform.errors import Conflict
from ...platform.project import FILE_NAME
from .camera import Images

FOLDER = "rayloop-demo"
MARK = ".made-by-rayloop-demo"  # only a folder that holds it is ever emptied

PROJECT = """\
# The project of `rayloop demo`: handwritten digits of 8 x 8 pixels.
name: digits

data:
  source: data                 # every Parquet file in the folder, one snapshot
  target: label
  key: image                   # an image stays in its part of the split whatever comes later
  split: {validation: 0.12, test: 0.13}

task:
  params: {hidden: [384], dropout: 0.4, numbers: standard}

train:
  workers: 2
  epochs: 40
  batch_size: 32
  learning_rate: 0.002
  weight_decay: 1.0
  seed: 0

search:
  trials: 4
  concurrent: 2
  grace_epochs: 8
  space:
    learning_rate: {loguniform: [0.001, 0.004]}
    dropout: {uniform: [0.3, 0.5]}

validate:
  gates:
    - {metric: accuracy, min: 0.85}
    - {metric: accuracy, max_loss_to_champion: 0.02}

serve:
  cpus: 0.5
  canary: {share: 10, min_requests: 150, deadline_s: 120}

monitor:
  window_minutes: 60
  min_rows: 100

retrain:
  cooldown_minutes: 0
"""


def make_project(folder: Path, first: Images) -> None:
    """Write the project file and the first labelled rows into a new folder; an earlier demo's folder is emptied.

    Raises Conflict where the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise Conflict(f"{folder} holds files that no demo made: name another one with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    (folder / FILE_NAME).write_text(PROJECT)
    add_rows(folder, "1-first", first)


def add_rows(folder: Path, name: str, images: Images) -> Path:
    """Put labelled images into the project's source, as one more Parquet file."""
    path = folder / "data" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(images.table(), path, compression="zstd")
    return path
