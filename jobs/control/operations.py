"""Owns the work that takes longer than a request: runs it in threads, and tells how far it is; it knows no HTTP.

Operations are handles, kept in memory alone. What they change is in SQL, so after a restart nothing is lost but the
handle, and asking for the same again comes to the same end.
"""

from __future__ import annotations

import contextvars
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ...platform.errors import NotFound, RayloopError, Unavailable

MAX_RUNNING = 16
MAX_KEPT = 256

Say = Callable[[str], None]
Work = Callable[[Say], object]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something under way or ended; `status` is what a request that waited for it would be answered."""

    id: str
    what: str
    started_s: float
    lines: tuple[str, ...] = ()
    state: str = "running"  # or done, or failed
    status: int = 200
    error: str | None = None
    ended_s: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it is done or has failed."""
        return self.ended_s is not None

    def written(self) -> dict[str, Any]:
        """It as JSON."""
        value: dict[str, Any] = {"id": self.id, "operation": self.what, "state": self.state, "lines": list(self.lines)}
        value |= {"started_s": self.started_s, "ended_s": self.ended_s}
        return value | ({"error": self.error, "status": self.status} if self.error is not None else {})


class OperationFailed(RayloopError):
    """What was waited for did not succeed; its own sentence and status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence

    def __str__(self) -> str:
        return self.sentence


class Operations:
    """Starts operations and remembers the last ones; safe to share between threads."""

    def __init__(self, max_running: int = MAX_RUNNING) -> None:
        self._max_running = max_running
        self._born = secrets.token_hex(4)  # tells the handles of this process from those of the one before it
        self._known: dict[str, Operation] = {}
        self._ended = threading.Condition()

    def start(self, what: str, work: Work) -> Operation:
        """Do the work in a thread of its own; one that runs already under the same words is not begun twice.

        Raises Unavailable while too many run.
        """
        with self._ended:
            running = [found for found in self._known.values() if not found.has_ended]
            for found in running:
                if found.what == what:
                    return found
            if len(running) >= self._max_running:
                raise Unavailable(f"{len(running)} operations are under way, and no more are begun: try again later")
            made = Operation(f"{self._born}-{secrets.token_hex(4)}", what, time.time())
            self._known[made.id] = made
            self._forget()
        context = contextvars.copy_context()  # the ledger learns from it who asked
        threading.Thread(target=context.run, args=(self._run, made.id, work), daemon=True, name=what).start()
        return made

    def get(self, operation_id: str) -> Operation:
        """An operation by its id. Raises NotFound."""
        with self._ended:
            found = self._known.get(operation_id)
        if found is not None:
            return found
        if operation_id.partition("-")[0] != self._born:
            raise NotFound(
                f"operation {operation_id!r} is not known: the control service was started anew since, ask again"
            )
        raise NotFound(f"operation {operation_id!r} is not known; the last {MAX_KEPT} are kept")

    def wait(self, started: Operation) -> Operation:
        """Wait until it has ended. Raises OperationFailed with its own sentence and status where it failed."""
        with self._ended:
            self._ended.wait_for(lambda: started.id not in self._known or self._known[started.id].has_ended)
        found = self.get(started.id)
        if found.error is not None:
            raise OperationFailed(found.status, found.error)
        return found

    def _run(self, operation_id: str, work: Work) -> None:
        try:
            work(lambda line: self._change(operation_id, line=line))
        except RayloopError as error:
            self._change(operation_id, state="failed", status=error.status, error=str(error))
        except SQLAlchemyError as error:
            self._change(operation_id, state="failed", status=503, error=f"the database failed: {type(error).__name__}")
        except Exception as error:
            logger.exception("operation %s failed", operation_id)
            self._change(
                operation_id, state="failed", status=500, error=f"the operation failed: {type(error).__name__}"
            )
        else:
            self._change(operation_id, state="done")

    def _change(self, operation_id: str, *, line: str | None = None, **changes: Any) -> None:
        with self._ended:
            found = self._known[operation_id]
            if line is not None:
                changes["lines"] = (*found.lines, line)
            if "state" in changes:
                changes["ended_s"] = time.time()
            self._known[operation_id] = replace(found, **changes)
            self._ended.notify_all()

    def _forget(self) -> None:
        ended = [found.id for found in self._known.values() if found.has_ended]
        for operation_id in ended[: max(0, len(self._known) - MAX_KEPT)]:
            del self._known[operation_id]
