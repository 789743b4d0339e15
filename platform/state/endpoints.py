"""What each endpoint should serve: its split with every revision of it, and the versions kept deployed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from ..errors import Conflict, NotFound
from ..traffic import Split, Variant
from .database import Database
from .ledger import Ledger
from .tables import deployment, endpoint, split_history


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version that should be up behind an endpoint, with traffic or without."""

    endpoint: str
    version: int
    artifact: str
    options: Mapping[str, Any]


class Endpoints:
    """Reads and changes the desired splits and deployments; each change is a ledger entry too."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self._database = database
        self._ledger = ledger or Ledger(database)

    def deployments(self, name: str | None = None) -> list[Deployment]:
        """Every version that should be up, of one endpoint or of all."""
        query = select(deployment).order_by(deployment.c.endpoint, deployment.c.version)
        if name is not None:
            query = query.where(deployment.c.endpoint == name)
        with self._database.engine.connect() as connection:
            return [_deployment(row) for row in connection.execute(query)]

    def add_deployment(self, wanted: Deployment) -> None:
        """Ask for a version to be up; the same again changes nothing."""
        same = (deployment.c.endpoint == wanted.endpoint) & (deployment.c.version == wanted.version)
        with self._database.transaction() as connection:
            row = connection.execute(select(deployment).where(same)).first()
            if row is not None and _deployment(row) == wanted:
                return
            _remove(connection, wanted.endpoint, wanted.version)
            connection.execute(
                deployment.insert().values(
                    endpoint=wanted.endpoint,
                    version=wanted.version,
                    artifact=wanted.artifact,
                    options=dict(wanted.options),
                    since_s=time.time(),
                )
            )
            self._ledger.append(
                connection, "deploy", f"{wanted.endpoint}/{wanted.version}", {"artifact": wanted.artifact}
            )

    def remove_deployment(self, name: str, version: int) -> None:
        """Ask for a version to be taken down. Raises Conflict while it has traffic."""
        with self._database.transaction() as connection:
            split = _split(connection, name)
            if split is not None and any(variant.version == version for variant in split.variants):
                raise Conflict(f"{name} version {version} still has traffic: move its share away first")
            if _remove(connection, name, version):
                self._ledger.append(connection, "undeploy", f"{name}/{version}", {})

    def split(self, name: str) -> Split:
        """The split of an endpoint as it should be now. Raises NotFound."""
        with self._database.engine.connect() as connection:
            found = _split(connection, name)
        if found is None:
            raise NotFound(f"no endpoint {name!r} is served here")
        return found

    def splits(self) -> list[Split]:
        """The splits of all endpoints."""
        with self._database.engine.connect() as connection:
            return [_as_split(row) for row in connection.execute(select(endpoint).order_by(endpoint.c.name))]

    def set_split(
        self, name: str, weights: Mapping[int, int], reason: str, *, expected_revision: int | None = None
    ) -> Split:
        """Make a new revision of a split; versions without traffic are left out of `weights`.

        Raises Conflict where a version is not deployed, or the split is no more at the expected revision; the split
        stays as it was.
        """
        with self._database.transaction() as connection:
            up = set(connection.execute(select(deployment.c.version).where(deployment.c.endpoint == name)).scalars())
            missing = sorted(set(weights) - up)
            if missing:
                raise Conflict(f"{name} version {missing[0]} is not deployed: run `rayloop deploy` first")
            before = _split(connection, name)
            found = 0 if before is None else before.revision
            if expected_revision not in {None, found}:
                raise Conflict(f"the split of {name!r} is at revision {found}, not {expected_revision}: read it again")
            revision = found + 1
            after = Split(name, tuple(Variant(v, w) for v, w in sorted(weights.items())), revision)
            stored = {str(variant.version): variant.weight for variant in after.variants}
            now_s = time.time()
            connection.execute(delete(endpoint).where(endpoint.c.name == name))
            connection.execute(endpoint.insert().values(name=name, revision=revision, split=stored, updated_s=now_s))
            connection.execute(
                split_history.insert().values(endpoint=name, revision=revision, split=stored, reason=reason, at_s=now_s)
            )
            detail = {
                "before": _weights(before),
                "after": _weights(after),
                "reason": reason,
                "revision": revision,
            }
            self._ledger.append(connection, "split", name, detail)
        return after

    def previous_weights(self, name: str) -> dict[int, int]:
        """The last split that gave one version all traffic, differs from the one in force and is still deployed.

        Raises NotFound where the endpoint is unknown, Conflict where there is nothing to go back to.
        """
        now = _weights(self.split(name))
        up = {found.version for found in self.deployments(name)}
        query = select(split_history).where(split_history.c.endpoint == name)
        with self._database.engine.connect() as connection:
            rows = connection.execute(query.order_by(split_history.c.revision.desc())).all()
        for row in rows:
            weights = {int(version): int(weight) for version, weight in row.split.items()}
            if row.split != now and len(weights) == 1 and set(weights) <= up:
                return weights
        raise Conflict(f"endpoint {name!r} has no earlier version that is still deployed to roll back to")


def _split(connection: Connection, name: str) -> Split | None:
    row = connection.execute(select(endpoint).where(endpoint.c.name == name)).first()
    return None if row is None else _as_split(row)


def _as_split(row: Any) -> Split:
    variants = tuple(Variant(int(version), int(weight)) for version, weight in row.split.items())
    return Split(row.name, variants, row.revision)


def _weights(split: Split | None) -> dict[str, int]:
    return {} if split is None else {str(variant.version): variant.weight for variant in split.variants}


def _deployment(row: Any) -> Deployment:
    return Deployment(row.endpoint, row.version, row.artifact, row.options)


def _remove(connection: Connection, name: str, version: int) -> bool:
    """Take the row out; False where there was none."""
    row = (deployment.c.endpoint == name) & (deployment.c.version == version)
    return connection.execute(delete(deployment).where(row)).rowcount > 0
