"""Numbers the batches of labels in the order in which they arrived, and knows a batch that came before."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from .database import Database
from .tables import label_batch


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """One body of labels, whose records are in one file."""

    id: int
    endpoint: str
    digest: str
    rows: int
    arrived_s: float


class LabelBatches:
    """Rows are only ever added. A batch may be here whose file was not written: its sender got no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self, endpoint: str, digest: str, rows: int, now_s: float, *, anew: bool = False
    ) -> tuple[LabelBatch, bool]:
        """Number a batch that arrives now, or find the newest of the same digest; the second value says which.

        `anew` numbers it although the same one is there.
        """
        query = select(label_batch).where((label_batch.c.endpoint == endpoint) & (label_batch.c.digest == digest))
        with self._database.transaction() as connection:
            known = connection.execute(query.order_by(label_batch.c.id.desc()).limit(1)).first()
            if known is not None and not anew:
                return LabelBatch(**known._mapping), False
            values = {"endpoint": endpoint, "digest": digest, "rows": rows, "arrived_s": round(now_s, 6)}
            key = connection.execute(label_batch.insert().values(**values)).inserted_primary_key
            assert key is not None
            return LabelBatch(int(key[0]), endpoint, digest, rows, values["arrived_s"]), True  # type: ignore[arg-type]

    def batches(self, endpoint: str, since_s: float | None = None, after: int = 0) -> list[LabelBatch]:
        """Batches of an endpoint in their order: those that arrived from a moment on, or came after another."""
        query = select(label_batch).where((label_batch.c.endpoint == endpoint) & (label_batch.c.id > after))
        if since_s is not None:
            query = query.where(label_batch.c.arrived_s >= since_s)
        with self._database.engine.connect() as connection:
            return [LabelBatch(**row._mapping) for row in connection.execute(query.order_by(label_batch.c.id))]
