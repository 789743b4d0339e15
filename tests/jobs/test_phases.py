"""Some steps are timed by phase, the others cost next to nothing, and no number of the training changes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from rayloop.jobs.training.phases import PhaseTimer, all_reduce_s


def test_each_sixteenth_step_is_timed() -> None:
    timer, timed = PhaseTimer(every=16), 0
    for _ in range(33):
        timer.next_step()
        with timer.phase("forward"):
            timed += int(timer.phase("forward") is not timer.phase("forward"))
    assert timed == 3  # an untimed step gets one and the same context each time
    timer.add("forward", 1.0)
    assert 1000 / 4 < timer.take()["time/forward_ms"] < 1000 / 4 + 50
    assert timer.take() == {}


def test_a_phase_takes_as_long_as_what_is_in_it() -> None:
    timer = PhaseTimer(every=1)
    for _ in range(2):
        timer.next_step()
        with timer.phase("data"):
            time.sleep(0.02)
    with timer.always("checkpoint"):
        time.sleep(0.01)
    found = timer.take()
    assert set(found) == {"time/data_ms", "time/checkpoint_ms"}
    assert found["time/data_ms"] >= 20
    assert found["time/checkpoint_ms"] >= 10


def test_each_step_s_wait_for_its_rows_is_timed() -> None:
    def rows() -> Iterator[int]:
        for step in range(20):
            time.sleep(0.02 if step == 5 else 0)  # no step whose phases are timed
            yield step

    timer = PhaseTimer(every=16)
    assert list(timer.steps(rows())) == list(range(20))
    assert 1 <= timer.take()["time/data_ms"] < 20
    silent = PhaseTimer(every=0)
    assert list(silent.steps(rows())) == list(range(20))
    assert silent.take() == {}


def test_a_step_in_parts_is_one_step() -> None:
    timer = PhaseTimer(every=1)
    for _ in range(2):
        timer.next_step()
        for _ in range(3):
            with timer.phase("forward"):
                time.sleep(0.01)
    assert timer.take()["time/forward_ms"] >= 30


def test_a_timer_that_is_off_times_nothing() -> None:
    timer = PhaseTimer(every=0)
    timer.next_step()
    with timer.phase("forward"), timer.always("checkpoint"):
        pass
    assert timer.take() == {}


def test_every_step_calls_who_wants_to_know() -> None:
    timer, steps = PhaseTimer(every=0), []
    timer.on_step.append(lambda: steps.append(1))
    for _ in range(3):
        timer.next_step()
    assert len(steps) == 3


def test_gradients_are_averaged_in_data_parallelism_alone() -> None:
    assert all_reduce_s(torch.nn.Linear(1, 1)) is None


ONE_RANK = """
import os, sys
import torch
import torch.distributed as dist
from rayloop.jobs.training.phases import all_reduce_s

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/group", rank=0, world_size=1)
module = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
module._set_ddp_runtime_logging_sample_rate(1)
before = all_reduce_s(module)  # no step yet
for _ in range(3):
    module(torch.randn(8, 64)).sum().backward()
print(before, all_reduce_s(module), flush=True)
os._exit(0)  # to take the group and the module apart can wait for torch's own threads for ever
"""


def test_what_data_parallelism_measures_of_itself_is_read(tmp_path: Path) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", ONE_RANK, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    before, after = done.stdout.split()
    assert before == "None"
    assert 0 < float(after) < 1
