"""Turns trained weights into a logged model: module, schema, reference profile, hash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from torch import Tensor

from ...platform.data import Snapshot
from ...platform.errors import Unavailable
from ...platform.model.artifact import LoadedModel, save_artifact
from ...platform.model.monitored import as_monitored
from ...platform.model.schema import Schema, table_columns
from ...platform.model.task import find_task
from ...platform.project import Project
from ...platform.registry import Tracker
from ...platform.registry.tracker import temporary_folder
from ...platform.stats import Profile, fit_binnings, profile_table
from .data import encode_rows, part_tables
from .export import export_onnx
from .loop import Plan, build_module


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
    snapshot: Snapshot,
) -> LoggedModel:
    """Build the artifact from weights and log it to the run; the code of a user's task goes along.

    What fails before MLflow is asked marks the run as failed; its last checkpoint stays. Raises Unavailable where the
    artifact can't be written, and what `Tracker.log_model` raises.
    """
    with ExitStack() as until_logged:
        try:
            with _sentence(tracker.key):
                folder = Path(until_logged.enter_context(temporary_folder())) / "artifact"
                sha256 = _write(folder, tracker, project, schema, plan, weights, snapshot)
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
    snapshot: Snapshot,
) -> str:
    """The artifact's SHA-256."""
    task = find_task(project.task.use, Path.cwd())
    module = build_module(task, schema, plan)
    module.load_state_dict(dict(weights))
    module.eval()
    model = LoadedModel(schema, task, module, schema.signature(), "")
    profile = reference_profile(model, snapshot, project)
    if "onnx" in project.train.export:
        unseen = encode_rows(task, schema, _unseen(snapshot, project))
        tracker.log_metrics({"export/onnx_max_difference": export_onnx(model, unseen.inputs, folder)}, 0)
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


def reference_profile(model: LoadedModel, snapshot: Snapshot, project: Project) -> Profile:
    """What drift is measured against: rows that no training step saw, and the model's answers to them.

    Answers to training rows are better than any the model will give again, and would look like drift later.
    """
    unseen = _unseen(snapshot, project)
    answers = model.predict(table_columns(unseen, [feature.name for feature in model.schema.features]))
    monitored = as_monitored(model.schema, unseen, np.asarray(answers["prediction"]))
    return profile_table(monitored, fit_binnings(monitored))


def _unseen(snapshot: Snapshot, project: Project) -> pa.Table:
    """The rows that no training step saw."""
    tables = part_tables(snapshot, project)
    return pa.concat_tables([tables["validation"], tables["test"]])
