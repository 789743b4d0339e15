"""The projects that rayloop knows, and the snapshots of their data, newest last."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import delete, select

from ..errors import NotFound
from ..project import Project, ServeConfig
from .database import Database
from .tables import project as project_table
from .tables import snapshot as snapshot_table


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """One snapshot of a project's data."""

    digest: str
    rows: int
    created_s: float


class Projects:
    """Remembers a project's file and code, so that a pipeline can run when nobody is there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, project: Project, code: str) -> None:
        """Remember the project as it is now; `code` is the digest of its bundle in the store."""
        row = {
            "name": project.name,
            "config": project.model_dump(mode="json", by_alias=True),
            "code": code,
            "updated_s": time.time(),
        }
        with self._database.transaction() as connection:
            connection.execute(delete(project_table).where(project_table.c.name == project.name))
            connection.execute(project_table.insert().values(**row))

    def load(self, name: str) -> tuple[Project, str]:
        """The project and the digest of its code. Raises NotFound."""
        with self._database.engine.connect() as connection:
            row = connection.execute(select(project_table).where(project_table.c.name == name)).first()
        if row is None:
            raise NotFound(f"no project {name!r} is known here: run `rayloop data add` in its folder first")
        return Project.model_validate(row.config), row.code

    def named_by_endpoint(self, endpoint: str) -> str:
        """Name of the project that serves under `endpoint`. Raises NotFound."""
        with self._database.engine.connect() as connection:
            rows = connection.execute(select(project_table)).all()
        for row in rows:
            if Project.model_validate(row.config).endpoint == endpoint:
                return str(row.name)
        known = ", ".join(sorted(Project.model_validate(row.config).endpoint for row in rows)) or "none"
        raise NotFound(f"no project serves an endpoint {endpoint!r}; known: {known}")

    def endpoint_of(self, name: str) -> str:
        """The endpoint of a project, by which its versions are served. Raises NotFound."""
        return self.load(name)[0].endpoint

    def served(self) -> dict[str, ServeConfig]:
        """How each endpoint is to be served, by its name; a row that this release cannot read is left out."""
        with self._database.engine.connect() as connection:
            rows = connection.execute(select(project_table).order_by(project_table.c.name)).all()
        found: dict[str, ServeConfig] = {}
        for row in rows:
            with suppress(ValidationError):
                project = Project.model_validate(row.config)
                found.setdefault(project.endpoint, project.serve)
        return found

    def add_snapshot(self, name: str, digest: str, rows: int) -> None:
        """Make a snapshot the newest of its project."""
        same = (snapshot_table.c.project == name) & (snapshot_table.c.digest == digest)
        values = {"project": name, "digest": digest, "rows": rows, "created_s": time.time()}
        with self._database.transaction() as connection:
            connection.execute(delete(snapshot_table).where(same))
            connection.execute(snapshot_table.insert().values(**values))

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """All snapshots of a project, oldest first."""
        query = select(snapshot_table).where(snapshot_table.c.project == name).order_by(snapshot_table.c.id)
        with self._database.engine.connect() as connection:
            return [SnapshotRecord(row.digest, row.rows, row.created_s) for row in connection.execute(query)]

    def latest_snapshot(self, name: str) -> SnapshotRecord:
        """The newest snapshot of a project. Raises NotFound."""
        found = self.snapshots(name)
        if not found:
            raise NotFound(f"project {name!r} has no snapshot: run `rayloop data add` first")
        return found[-1]
