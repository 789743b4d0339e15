"""Takes labels in for an endpoint, from whoever sends them; each is checked against the endpoint's own task first."""

from __future__ import annotations

from collections.abc import Sequence

from ..platform.errors import InvalidInput
from ..platform.labels import Added, Label
from ..platform.state import current_actor
from ..platform.workspace import Workspace
from .serving import owner_of


def add_labels(workspace: Workspace, endpoint: str, labels: Sequence[Label]) -> Added:
    """Store labels of an endpoint's predictions, all or none of them.

    Raises NotFound for an unknown endpoint, InvalidInput for a label that is no number where numbers are predicted.
    """
    project = owner_of(workspace, endpoint)
    if project is not None and project.task.kind == "regression":
        for place, label in enumerate(labels, start=1):
            if label.value is None:
                raise InvalidInput(
                    f"record {place} has label {label.text[:60]!r}, and {endpoint} predicts numbers; nothing was stored"
                )
    return workspace.labels.add(endpoint, labels, current_actor())
