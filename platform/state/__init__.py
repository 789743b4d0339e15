"""Desired state and history in SQL: endpoints, deployments, pipeline runs, triggers, verdicts, the ledger."""

from .database import Database
from .endpoints import Deployment, Endpoints
from .ledger import Entry, Ledger
from .pipelines import PipelineRun, Pipelines, Step
from .projects import Projects, SnapshotRecord
from .verdicts import Verdicts

__all__ = [
    "Database",
    "Deployment",
    "Endpoints",
    "Entry",
    "Ledger",
    "PipelineRun",
    "Pipelines",
    "Projects",
    "SnapshotRecord",
    "Step",
    "Verdicts",
]
