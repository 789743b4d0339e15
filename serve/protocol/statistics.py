"""Owns the counts of one replica's answers, in the shape of Triton's statistics; it knows no HTTP.

Without a lock: the thread that predicts is the only one that writes, except for what is turned away before it,
which the event loop alone counts. A reader may see one request half counted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson


@dataclass(slots=True)
class Stat:
    """How often something happened, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        self.count += count
        self.ns += ns

    def written(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class _BatchStats:
    compute_input: Stat = field(default_factory=Stat)
    compute_infer: Stat = field(default_factory=Stat)
    compute_output: Stat = field(default_factory=Stat)


@dataclass(slots=True)
class Statistics:
    """Sums since this replica started; each request counts once in `success` or `fail`.

    `inferences` counts rows, `executions` calls of the model.
    """

    success: Stat = field(default_factory=Stat)
    fail: Stat = field(default_factory=Stat)
    turned_away: Stat = field(default_factory=Stat)
    queue: Stat = field(default_factory=Stat)
    compute_input: Stat = field(default_factory=Stat)
    compute_infer: Stat = field(default_factory=Stat)
    compute_output: Stat = field(default_factory=Stat)
    inferences: int = 0
    executions: int = 0
    last_inference_ms: int = 0
    batches: dict[int, _BatchStats] = field(default_factory=dict)

    def add_execution(self, rows: int, num_requests: int, join_ns: int, infer_ns: int) -> None:
        """Count one call of the model, whose time each of its requests has waited for."""
        self.executions += 1
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.compute_infer.add(infer_ns * num_requests, num_requests)
        batch = self._batch(rows)
        batch.compute_input.add(join_ns)
        batch.compute_infer.add(infer_ns)

    def add_success(self, total_ns: int, rows: int) -> None:
        """Count an answered request."""
        self.success.add(total_ns)
        self.inferences += rows

    def add_writing(self, rows: int, output_ns: int) -> None:
        """Count the encoding of one batch's answers."""
        self._batch(rows).compute_output.add(output_ns)

    def _batch(self, rows: int) -> _BatchStats:
        size = size_class(rows)
        found = self.batches.get(size)
        if found is None:
            found = self.batches[size] = _BatchStats()
        return found

    def written(self, endpoint: str, version: int, own: Mapping[str, object] | None = None) -> bytes:
        """Write the answer of the statistics route; `own` are counts that Triton does not know, beside its shape."""
        fail = Stat(self.fail.count + self.turned_away.count, self.fail.ns + self.turned_away.ns)
        stats = {
            "success": self.success.written(),
            "fail": fail.written(),
            "queue": self.queue.written(),
            "compute_input": self.compute_input.written(),
            "compute_infer": self.compute_infer.written(),
            "compute_output": self.compute_output.written(),
            "cache_hit": Stat().written(),
            "cache_miss": Stat().written(),
        }
        batches = [
            {
                "batch_size": size,
                "compute_input": batch.compute_input.written(),
                "compute_infer": batch.compute_infer.written(),
                "compute_output": batch.compute_output.written(),
            }
            for size, batch in sorted(self.batches.copy().items())
        ]
        model = {
            "name": endpoint,
            "version": str(version),
            "last_inference": self.last_inference_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": stats,
            "batch_stats": batches,
        }
        return orjson.dumps({"model_stats": [model]} | ({"rayloop": own} if own else {}))


def size_class(rows: int) -> int:
    """Round a batch's rows up to a power of two, so that the classes stay few.

    >>> [size_class(rows) for rows in (1, 2, 3, 256, 257)]
    [1, 2, 4, 256, 512]
    """
    return 1 << (rows - 1).bit_length()
