"""One handle on all that lasts: settings, store, database, registry; each part is opened when first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .data import Snapshot, Store, open_snapshot
from .labels import LabelLog
from .settings import Settings
from .state import Database, Endpoints, LabelBatches, Ledger, Pipelines, Projects, Replicas, Runs, Tokens, Verdicts

if TYPE_CHECKING:
    from .registry import Registry


class Workspace:
    """What a command, a job or an actor works on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        """The SQL database, at its newest migration."""
        return Database(self.settings.database_url)

    @cached_property
    def store(self) -> Store:
        """Snapshots, artifacts, captures."""
        return Store(self.settings.store)

    @cached_property
    def ledger(self) -> Ledger:
        """The audit log."""
        return Ledger(self.database)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Desired splits and deployments."""
        return Endpoints(self.database, self.ledger)

    @cached_property
    def replicas(self) -> Replicas:
        """Where replicas listen."""
        return Replicas(self.database)

    @cached_property
    def tokens(self) -> Tokens:
        """Clients' tokens."""
        return Tokens(self.database, self.ledger)

    @cached_property
    def projects(self) -> Projects:
        """Known projects and their snapshots."""
        return Projects(self.database)

    @cached_property
    def pipelines(self) -> Pipelines:
        """Pipeline runs."""
        return Pipelines(self.database)

    @cached_property
    def runs(self) -> Runs:
        """Records of training runs."""
        return Runs(self.store)

    @cached_property
    def verdicts(self) -> Verdicts:
        """Gate verdicts and drift reports."""
        return Verdicts(self.database)

    @cached_property
    def registry(self) -> Registry:
        """The MLflow registry; importing MLflow takes over a second, so only those who need it pay."""
        from .registry import Registry

        return Registry(self.settings, self.ledger)

    @cached_property
    def labels(self) -> LabelLog:
        """Labels of predictions, as they arrived."""
        return LabelLog(self.store, LabelBatches(self.database))

    @property
    def capture_folder(self) -> str:
        """Folder or URI of the captured predictions of all endpoints."""
        return self.store.uri("capture")

    def snapshot(self, project: str, digest: str | None = None) -> Snapshot:
        """A snapshot by (the beginning of) its digest, or a project's newest. Raises NotFound."""
        if digest is None:
            digest = self.projects.latest_snapshot(project).digest
        elif len(digest) < 64:
            known = [record.digest for record in self.projects.snapshots(project)]
            digest = next((full for full in known if full.startswith(digest)), digest)
        return open_snapshot(self.store, digest)

    def close(self) -> None:
        """Give the database connections back."""
        if "database" in self.__dict__:
            self.database.close()
