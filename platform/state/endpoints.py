"""What each endpoint should serve: its split with every revision of it, and the versions kept deployed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, select, update

from ..errors import Conflict, NotFound
from ..traffic import Shadow, Split, Variant
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

    @property
    def origin(self) -> Mapping[str, str] | None:
        """Of a model that a person named: `model`, `source` and `sha256`; None for a project's own version."""
        origin: Mapping[str, str] | None = self.options.get("origin")
        return origin


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

    def is_foreign(self, name: str) -> bool:
        """True for an endpoint of models that a person named, which has no project."""
        return any(found.origin is not None for found in self.deployments(name))

    def next_version(self, name: str) -> int:
        """The number after the highest that is deployed or ever had traffic."""
        query = select(split_history.c.split).where(split_history.c.endpoint == name)
        with self._database.engine.connect() as connection:
            splits = connection.execute(query).scalars().all()
        numbers = [int(version) for split in splits for version in split]
        return max([0, *numbers, *(found.version for found in self.deployments(name))]) + 1

    def add_deployment(self, wanted: Deployment) -> None:
        """Ask for a version to be up; the same again changes nothing.

        Raises Conflict where it would bring a project's versions and other models under one name.
        """
        query = select(deployment).where(deployment.c.endpoint == wanted.endpoint)
        with self._database.transaction() as connection:
            beside = [_deployment(row) for row in connection.execute(query)]
            if wanted in beside:
                return
            if any((found.origin is None) != (wanted.origin is None) for found in beside):
                whose = "a project" if wanted.origin else "models given by --model"
                raise Conflict(f"endpoint {wanted.endpoint!r} serves {whose}: choose another name")
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
            detail = {"artifact": wanted.artifact, **(wanted.origin or {})}
            self._ledger.append(connection, "deploy", f"{wanted.endpoint}/{wanted.version}", detail)

    def remove_deployment(self, name: str, version: int) -> None:
        """Ask for a version to be taken down. Raises Conflict while it has traffic or is a shadow."""
        with self._database.transaction() as connection:
            split = _split(connection, name)
            if split is not None and any(variant.version == version for variant in split.variants):
                raise Conflict(f"{name} version {version} still has traffic: move its share away first")
            if split is not None and any(shadow.version == version for shadow in split.shadows):
                raise Conflict(f"{name} version {version} is a shadow: take it out by `rayloop shadow {name}` first")
            if _remove(connection, name, version):
                self._ledger.append(connection, "undeploy", f"{name}/{version}", {})

    def scale_deployment(self, name: str, version: int, replicas: int) -> tuple[Deployment, Deployment]:
        """Ask for another number of replicas; returns the deployment before and after.

        Raises NotFound where the version is not deployed, Conflict where it scales by itself.
        """
        same = (deployment.c.endpoint == name) & (deployment.c.version == version)
        with self._database.transaction() as connection:
            row = connection.execute(select(deployment).where(same)).first()
            if row is None:
                raise NotFound(f"{name} version {version} is not deployed")
            before = _deployment(row)
            bounds = before.options.get("autoscale")
            if bounds is not None:
                raise Conflict(
                    f"{name} version {version} scales by itself, from {bounds['min']} to {bounds['max']} replicas: "
                    "change serve.autoscale in the project file, then `rayloop data add` and `rayloop deploy` it again"
                )
            after = replace(before, options={**before.options, "replicas": replicas})
            if after != before:
                connection.execute(update(deployment).where(same).values(options=dict(after.options)))
                detail = {"before": before.options.get("replicas", 1), "after": replicas}
                self._ledger.append(connection, "scale", f"{name}/{version}", detail)
        return before, after

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

        The shadows stay, except those that get traffic by it. Raises Conflict where a version is not deployed, or
        the split is no more at the expected revision; the split stays as it was.
        """
        with self._database.transaction() as connection:
            _require_deployed(connection, name, set(weights))
            before = _split(connection, name)
            found = 0 if before is None else before.revision
            if expected_revision not in {None, found}:
                raise Conflict(f"the split of {name!r} is at revision {found}, not {expected_revision}: read it again")
            variants = tuple(Variant(version, weight) for version, weight in sorted(weights.items()))
            kept = () if before is None else before.shadows
            kept = tuple(shadow for shadow in kept if not weights.get(shadow.version))
            after = Split(name, variants, found + 1, kept)
            _store(connection, after, reason)
            detail: dict[str, Any] = {"before": _weights(before), "after": _weights(after)}
            if before is not None and before.shadows != after.shadows:
                detail |= {"shadows_before": _shares(before), "shadows_after": _shares(after)}
            detail |= {"reason": reason, "revision": after.revision}
            self._ledger.append(connection, "split", name, detail)
        return after

    def set_shadows(self, name: str, shares: Mapping[int, int], reason: str) -> Split:
        """Make a new revision of a split whose weights stay and whose shadows are these; none end all shadowing.

        Raises NotFound for an endpoint without a split, Conflict where a version is not deployed or has traffic.
        """
        with self._database.transaction() as connection:
            before = _split(connection, name)
            if before is None:
                raise NotFound(f"no endpoint {name!r} is served here")
            _require_deployed(connection, name, set(shares))
            for variant in before.variants:
                if variant.weight and variant.version in shares:
                    raise Conflict(f"{name} version {variant.version} has traffic itself: it can't be a shadow")
            shadows = tuple(Shadow(version, share) for version, share in sorted(shares.items()))
            after = replace(before, shadows=shadows, revision=before.revision + 1)
            _store(connection, after, reason)
            detail = {
                "before": _shares(before),
                "after": _shares(after),
                "reason": reason,
                "revision": after.revision,
            }
            self._ledger.append(connection, "shadow", name, detail)
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
    shadows = tuple(Shadow(int(version), int(share)) for version, share in row.shadows.items())
    return Split(row.name, variants, row.revision, shadows)


def _store(connection: Connection, split: Split, reason: str) -> None:
    """Put a split in the place of the one before it, and beside all before it."""
    stored = {"revision": split.revision, "split": _weights(split), "shadows": _shares(split)}
    now_s = time.time()
    connection.execute(delete(endpoint).where(endpoint.c.name == split.endpoint))
    connection.execute(endpoint.insert().values(name=split.endpoint, updated_s=now_s, **stored))
    connection.execute(split_history.insert().values(endpoint=split.endpoint, reason=reason, at_s=now_s, **stored))


def _require_deployed(connection: Connection, name: str, versions: set[int]) -> None:
    up = set(connection.execute(select(deployment.c.version).where(deployment.c.endpoint == name)).scalars())
    if missing := sorted(versions - up):
        raise Conflict(f"{name} version {missing[0]} is not deployed: run `rayloop deploy` first")


def _weights(split: Split | None) -> dict[str, int]:
    return {} if split is None else {str(variant.version): variant.weight for variant in split.variants}


def _shares(split: Split) -> dict[str, int]:
    return {str(shadow.version): shadow.share for shadow in split.shadows}


def _deployment(row: Any) -> Deployment:
    return Deployment(row.endpoint, row.version, row.artifact, row.options)


def _remove(connection: Connection, name: str, version: int) -> bool:
    """Take the row out; False where there was none."""
    row = (deployment.c.endpoint == name) & (deployment.c.version == version)
    return connection.execute(delete(deployment).where(row)).rowcount > 0
