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
    """One replica's listener; `id` is Ray Serve's, `address` is `host:port`."""

    id: str
    endpoint: str
    version: int
    address: str


class Replicas:
    """Reads and changes the addresses. They are no part of the ledger: nobody decides them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, replica: Replica) -> None:
        """Say that a replica listens; whoever had its address before does so no more."""
        self.release(replica.address)
        with self._database.transaction() as connection:
            row = {"id": replica.id, "endpoint": replica.endpoint, "version": replica.version}
            connection.execute(replica_table.insert().values(address=replica.address, since_s=time.time(), **row))

    def release(self, address: str) -> None:
        """Say that nobody listens there any more."""
        with self._database.transaction() as connection:
            connection.execute(delete(replica_table).where(replica_table.c.address == address))

    def all(self) -> list[Replica]:
        """Every replica that said so and has not taken it back; a killed one is among them."""
        query = select(replica_table).order_by(
            replica_table.c.endpoint, replica_table.c.version, replica_table.c.address
        )
        with self._database.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Replica(row.id, row.endpoint, row.version, row.address) for row in rows]

    def keep(self, living: Collection[str], now_s: float | None = None) -> int:
        """Forget the replicas whose id is not among the living, unless they are young; returns how many."""
        before_s = (time.time() if now_s is None else now_s) - YOUNG_S
        gone = replica_table.c.id.not_in(sorted(living)) & (replica_table.c.since_s < before_s)
        with self._database.engine.connect() as connection:
            if connection.execute(select(replica_table.c.id).where(gone).limit(1)).first() is None:
                return 0
        with self._database.transaction() as connection:
            return connection.execute(delete(replica_table).where(gone)).rowcount
