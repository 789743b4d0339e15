"""What becomes of a worker's fault: noted where every further try would meet it, passed on where the next may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...platform.errors import RayloopError, Unavailable
from .loop import NoRoom, OutOfMemory, TrainingDiverged, is_lack_of_memory
from .plan import Plan
from .run import Run


@contextmanager
def noted(run: Run, plan: Plan, tell: Callable[[str], None], columns: Callable[[], str]) -> Iterator[None]:
    """Raise what is raised within as an error of ours; a fault that is final is written down for the job.

    `columns` names those that a training may have diverged by. A step that lacks memory is computed in twice as many
    parts by the next try, where the plan allows it.
    """
    try:
        yield
    except Unavailable:
        raise  # the store is away or full: the next try may find it well
    except TrainingDiverged as error:
        raise run.fail(TrainingDiverged(error.epoch, error.step, columns())) from None
    except OutOfMemory as error:
        if not plan.allow_smaller_batch or error.rows <= 1:
            raise run.fail(error) from None
        tell(f"memory does not suffice for {error.rows} rows at once: the next try computes half as many")
        run.set_accumulate(error.parts * 2)
        raise
    except RayloopError as error:
        raise run.fail(error) from None
    except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
        if not is_lack_of_memory(error):
            raise
        raise run.fail(NoRoom()) from None
