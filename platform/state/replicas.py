"""Where the replicas of each version listen, as they say themselves; whether they still live others must find out."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select

from .database import Database
from .tables import replica as replica_table

# A replica says where it listens a moment before Ray Serve counts it.
YOUNG_S = 60.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica's listener; `id` is Ray Serve's, addresses are `host:port`."""

    id: str
    endpoint: str
    version: int
    address: str
    grpc_address: str | None = None


class Replicas:
    """Reads and changes the addresses. They are no part of the ledger: nobody decides them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, replica: Replica) -> None:
        """Say that a replica listens; whoever had its address before does so no more."""
        self.release(replica.address, replica.grpc_address)
        with self._database.transaction() as connection:
            row: dict[str, object] = {"id": replica.id, "endpoint": replica.endpoint, "version": replica.version}
            row |= {"address": replica.address, "grpc_address": replica.grpc_address, "since_s": time.time()}
            connection.execute(replica_table.insert().values(**row))

    def release(self, address: str, grpc_address: str | None = None) -> None:
        """Say that nobody listens there any more."""
        ports = [address] if grpc_address is None else [address, grpc_address]
        is_one = replica_table.c.address.in_(ports) | replica_table.c.grpc_address.in_(ports)
        with self._database.transaction() as connection:
            connection.execute(delete(replica_table).where(is_one))

    def all(self) -> list[Replica]:
        """Every replica that said so and has not taken it back; a killed one is among them."""
        query = select(replica_table).order_by(
            replica_table.c.endpoint, replica_table.c.version, replica_table.c.address
        )
        with self._database.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Replica(row.id, row.endpoint, row.version, row.address, row.grpc_address) for row in rows]

    def drop(self, ids: Collection[str]) -> None:
        """Forget the replicas of these ids."""
        gone = replica_table.c.id.in_(sorted(ids))
        with self._database.engine.connect() as connection:
            if not ids or connection.execute(select(replica_table.c.id).where(gone).limit(1)).first() is None:
                return
        with self._database.transaction() as connection:
            connection.execute(delete(replica_table).where(gone))

    def keep(self, living: Collection[str], now_s: float | None = None) -> int:
        """Forget the replicas whose id is not among the living, unless they are young; returns how many."""
        before_s = (time.time() if now_s is None else now_s) - YOUNG_S
        gone = replica_table.c.id.not_in(sorted(living)) & (replica_table.c.since_s < before_s)
        with self._database.engine.connect() as connection:
            if connection.execute(select(replica_table.c.id).where(gone).limit(1)).first() is None:
                return 0
        with self._database.transaction() as connection:
            return connection.execute(delete(replica_table).where(gone)).rowcount
