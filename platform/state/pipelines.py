"""Pipeline runs and their steps as durable rows: what was asked for, what is done, what comes next."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from ..errors import Conflict, NotFound
from .database import Database
from .ledger import Ledger
from .tables import pipeline_run, pipeline_step

ENDED = frozenset({"promoted", "rejected", "rolled_back", "failed", "inconclusive"})


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One walk from new data to a promoted version, or to the reason why not."""

    id: str
    project: str
    trigger: str
    reason: str
    state: str
    attempts: int
    created_s: float
    updated_s: float

    @property
    def has_ended(self) -> bool:
        """True where nothing more will happen."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run; `ended_s` is None while it is under way."""

    name: str
    output: Mapping[str, Any]
    started_s: float
    ended_s: float | None


class Pipelines:
    """Creates runs (at most one open per project), and writes down each step before and after it is done."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = Ledger(database)

    def create(self, project: str, trigger: str, reason: str, cooldown_s: float = 0.0) -> PipelineRun:
        """Ask for a run. Raises Conflict while another is open, or within `cooldown_s` of the last one's end."""
        now_s = time.time()
        with self._database.transaction() as connection:
            query = select(pipeline_run).where(pipeline_run.c.project == project)
            last = connection.execute(query.order_by(pipeline_run.c.created_s.desc()).limit(1)).first()
            if last is not None and last.state not in ENDED:
                raise Conflict(f"project {project!r} has an open pipeline run already: {last.id}")
            if last is not None and now_s - last.updated_s < cooldown_s:
                left_s = cooldown_s - (now_s - last.updated_s)
                raise Conflict(f"project {project!r} cools down for {left_s:.0f} s after pipeline run {last.id}")
            run = PipelineRun(f"{project}-{uuid.uuid4().hex[:8]}", project, trigger, reason, "pending", 0, now_s, now_s)
            connection.execute(pipeline_run.insert().values(**_row(run)))
            self._ledger.append(connection, "trigger", run.id, {"trigger": trigger, "reason": reason})
        return run

    def get(self, run_id: str) -> PipelineRun:
        """One run. Raises NotFound."""
        with self._database.engine.connect() as connection:
            row = connection.execute(select(pipeline_run).where(pipeline_run.c.id == run_id)).first()
        if row is None:
            raise NotFound(f"no pipeline run {run_id!r} is known here")
        return PipelineRun(**row._mapping)

    def runs(self, project: str | None = None, state: str | None = None) -> list[PipelineRun]:
        """Runs, oldest first."""
        query = select(pipeline_run).order_by(pipeline_run.c.created_s)
        if project is not None:
            query = query.where(pipeline_run.c.project == project)
        if state is not None:
            query = query.where(pipeline_run.c.state == state)
        with self._database.engine.connect() as connection:
            return [PipelineRun(**row._mapping) for row in connection.execute(query)]

    def set_state(self, run_id: str, state: str, *, attempt: bool = False, reason: str = "") -> None:
        """Move an open run to another state; `attempt` counts one more try of it.

        A run that has ended stays as it ended. Raises NotFound.
        """
        values: dict[str, Any] = {"state": state, "updated_s": time.time()}
        if attempt:
            values["attempts"] = pipeline_run.c.attempts + 1
        with self._database.transaction() as connection:
            found = connection.execute(select(pipeline_run.c.state).where(pipeline_run.c.id == run_id)).scalar()
            if found is None:
                raise NotFound(f"no pipeline run {run_id!r} is known here")
            if found in ENDED:
                return
            connection.execute(update(pipeline_run).where(pipeline_run.c.id == run_id).values(**values))
            self._ledger.append(connection, "pipeline", run_id, {"state": state, "reason": reason})

    def begin_step(self, run_id: str, name: str, position: int) -> Step | None:
        """Write down that a step begins; returns its record where it was begun before (ended or not)."""
        with self._database.transaction() as connection:
            query = select(pipeline_step).where(_is(run_id, name))
            row = connection.execute(query).first()
            if row is not None:
                return Step(row.name, row.output, row.started_s, row.ended_s)
            values = {
                "run": run_id,
                "name": name,
                "position": position,
                "output": {},
                "started_s": time.time(),
            }
            connection.execute(pipeline_step.insert().values(**values, ended_s=None))
        return None

    def end_step(self, run_id: str, name: str, output: Mapping[str, Any]) -> None:
        """Write down what a step gave; it will not be done again."""
        values = {"output": dict(output), "ended_s": time.time()}
        with self._database.transaction() as connection:
            connection.execute(update(pipeline_step).where(_is(run_id, name)).values(**values))

    def steps(self, run_id: str) -> list[Step]:
        """The steps of a run that were begun, in order."""
        query = select(pipeline_step).where(pipeline_step.c.run == run_id).order_by(pipeline_step.c.position)
        with self._database.engine.connect() as connection:
            return [Step(r.name, r.output, r.started_s, r.ended_s) for r in connection.execute(query)]


def _is(run_id: str, name: str) -> Any:
    return (pipeline_step.c.run == run_id) & (pipeline_step.c.name == name)


def _row(run: PipelineRun) -> dict[str, Any]:
    return {field: getattr(run, field) for field in run.__dataclass_fields__}
