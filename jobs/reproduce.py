"""The reproduce job: `python -m rayloop.jobs.reproduce MODEL VERSION`, in the folder of the code that ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
import ray

from ..platform.settings import Settings
from ..platform.workspace import Workspace
from .report import run_job
from .reproduction.again import train_again


@click.command()
@click.argument("model")
@click.argument("version", type=int)
@click.option("--tolerance", type=float, help="weights may differ by so much")
@click.option("--code", default="[]", help="how the code was rebuilt, as a JSON list of sentences")
@click.option("--key", help="name of the run")
def main(model: str, version: int, tolerance: float | None, code: str, key: str | None) -> None:
    """Train a registered version again and compare every weight."""

    def work() -> Mapping[str, Any]:
        ray.init(log_to_driver=True, configure_logging=False)
        return train_again(Workspace(Settings.load()), model, version, tolerance, json.loads(code), key).to_dict()

    run_job(work)


if __name__ == "__main__":
    main()
