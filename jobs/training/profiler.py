"""The profile of a few steps, as TensorBoard and Perfetto read it; for `train.profile`."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from ...platform.data import Store
from ...platform.errors import RayloopError

logger = logging.getLogger(__name__)

SKIPPED_STEPS, WARM_UP_STEPS, PROFILED_STEPS = 2, 2, 6


class StepProfiler:
    """Profiles some of a training's first steps and keeps the trace in the store; its failure is only logged."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._folder = Path(tempfile.mkdtemp(prefix="rayloop-profile-"))
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._left = SKIPPED_STEPS + WARM_UP_STEPS + PROFILED_STEPS
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=SKIPPED_STEPS, warmup=WARM_UP_STEPS, active=PROFILED_STEPS, repeat=1),
            on_trace_ready=tensorboard_trace_handler(str(self._folder), use_gzip=True),
            record_shapes=True,
        )
        self._profile.start()

    def step(self) -> None:
        """Called at the begin of each step."""
        if self._left > 0:
            self._left -= 1
            self._profile.step()
            if self._left == 0:
                self.finish()

    def finish(self) -> None:
        """End, and keep what there is; a second time does nothing."""
        if self._folder.exists():
            self._left = 0
            self._profile.stop()
            try:
                if any(self._folder.iterdir()):
                    kept = self._store.put_folder(self._name, self._folder)
                    logger.warning("the profile is at %s: `tensorboard --logdir` or ui.perfetto.dev shows it", kept)
            except RayloopError as error:
                logger.warning("the profile is not kept: %s", error)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
