"""Turns trained weights into a logged model: module, schema, reference profile, hash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from torch import Tensor

from ...platform.data.split import Part
from ...platform.errors import Unavailable
from ...platform.model.artifact import LoadedModel, save_artifact
from ...platform.model.monitored import as_monitored
from ...platform.model.schema import Schema, table_columns
from ...platform.model.task import find_task
from ...platform.project import Project
from ...platform.registry import Tracker
from ...platform.registry.tracker import temporary_folder
from ...platform.stats import Profile, TableTally, fit_binnings, profile_table, widened
from ...platform.stats.fitting import SAMPLE_ROWS
from .export import MOST_ROWS, export_onnx
from .loop import PREDICT_ROWS, Plan, build_module
from .reader import PartRows


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model in MLflow that is not registered yet."""

    key: str
    run_id: str
    model_uri: str
    sha256: str
    plan: Plan


def log_artifact(
    tracker: Tracker,
    project: Project,
    schema: Schema,
    plan: Plan,
    weights: Mapping[str, Tensor],
    parts: Mapping[Part, PartRows],
) -> LoggedModel:
    """Build the artifact from weights and log it to the run; the code of a user's task goes along.

    What fails before MLflow is asked marks the run as failed; its last checkpoint stays. Raises Unavailable where the
    artifact can't be written, and what `Tracker.log_model` raises.
    """
    with ExitStack() as until_logged:
        try:
            with _sentence(tracker.key):
                folder = Path(until_logged.enter_context(temporary_folder())) / "artifact"
                sha256 = _write(folder, tracker, project, schema, plan, weights, parts)
        except Exception:
            with suppress(Unavailable):
                tracker.finish("FAILED")
            raise
        uri = tracker.log_model(folder, schema.signature(), sha256)
    return LoggedModel(tracker.key, tracker.run_id, uri, sha256, plan)


def _write(
    folder: Path,
    tracker: Tracker,
    project: Project,
    schema: Schema,
    plan: Plan,
    weights: Mapping[str, Tensor],
    parts: Mapping[Part, PartRows],
) -> str:
    """The artifact's SHA-256."""
    task = find_task(project.task.use, Path.cwd())
    module = build_module(task, schema, plan)
    module.load_state_dict(dict(weights))
    module.eval()
    model = LoadedModel(schema, task, module, schema.signature(), "")
    unseen = [parts["validation"], parts["test"]]
    profile = reference_profile(model, unseen, plan.seed)
    if "onnx" in project.train.export:
        inputs = task.encode(schema, table_columns(_first(unseen, _names(schema)), _names(schema)))
        tracker.log_metrics({"export/onnx_max_difference": export_onnx(model, inputs, folder)}, 0)
    return save_artifact(folder, module, schema, project.task.use, plan.params, profile, Path.cwd())


@contextmanager
def _sentence(key: str) -> Iterator[None]:
    """Raise Unavailable for a disk that takes no artifact, whoever wrote to it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Unavailable(
            f"cannot write the artifact of run {key} below {tempfile.gettempdir()}: {reason}; its last checkpoint "
            f"stays: `rayloop resume {key}` goes on from there"
        ) from None


def reference_profile(model: LoadedModel, unseen: Sequence[PartRows], seed: int) -> Profile:
    """What drift is measured against: rows that no training step saw, and the model's answers to them.

    Answers to training rows are better than any the model will give again, and would look like drift later. Where the
    parts are read in pieces and are large, a sample makes the bins, and the pieces are counted on them.
    """
    names = _names(model.schema)
    sample = pa.concat_tables([part.sample(names, seed, SAMPLE_ROWS) for part in unseen])
    monitored = _monitored(model, sample)
    binnings = fit_binnings(monitored)
    if sample.num_rows == sum(part.count for part in unseen):
        return profile_table(monitored, binnings)
    del sample, monitored
    tally = TableTally(binnings)
    for part in unseen:
        for table in part.tables(names):
            monitored = _monitored(model, table)
            for name in binnings:
                tally.add_column(name, monitored.column(name))
    return widened(tally.profile())


def _monitored(model: LoadedModel, rows: pa.Table) -> pa.Table:
    """The rows as drift sees them, with the model's answers."""
    chunks = [rows.slice(first, PREDICT_ROWS) for first in range(0, rows.num_rows, PREDICT_ROWS)]
    answers = [model.predict(table_columns(chunk, rows.column_names))["prediction"] for chunk in chunks]
    return as_monitored(model.schema, rows, np.concatenate(answers))


def _first(parts: Sequence[PartRows], names: Sequence[str]) -> pa.Table:
    """The rows on which an export is tried."""
    return pa.concat_tables([part.first(names, MOST_ROWS) for part in parts]).slice(0, MOST_ROWS)


def _names(schema: Schema) -> list[str]:
    return [feature.name for feature in schema.features]
