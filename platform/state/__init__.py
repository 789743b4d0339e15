"""State and history in SQL: endpoints, pipeline runs, triggers, verdicts, tokens, the ledger; and records of runs."""

from .database import Database, database_exists
from .endpoints import Deployment, Endpoints
from .label_batches import LabelBatch, LabelBatches
from .ledger import Entry, Ledger, acting_as, current_actor
from .pipelines import PipelineRun, Pipelines, Step
from .projects import Projects, SnapshotRecord
from .replicas import Replica, Replicas
from .runs import Run, Runs
from .tokens import ROLES, Token, Tokens
from .verdicts import DriftRecord, Verdicts

__all__ = [
    "ROLES",
    "Database",
    "Deployment",
    "DriftRecord",
    "Endpoints",
    "Entry",
    "LabelBatch",
    "LabelBatches",
    "Ledger",
    "PipelineRun",
    "Pipelines",
    "Projects",
    "Replica",
    "Replicas",
    "Run",
    "Runs",
    "SnapshotRecord",
    "Step",
    "Token",
    "Tokens",
    "Verdicts",
    "acting_as",
    "current_actor",
    "database_exists",
]
