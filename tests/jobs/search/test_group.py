"""Two ranks of a trial train as one does, and a rank that fails is not waited for; as processes, without Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rayloop.cluster.ports import free_port
from rayloop.jobs.search.group import build_training
from rayloop.jobs.search.rows import open_rows
from rayloop.jobs.search.run import shared_of
from rayloop.jobs.search.worker import plan_of
from rayloop.jobs.training.loop import Place

SCRIPT = """
import json, sys, weakref
import torch
from rayloop.jobs.search import group
from rayloop.jobs.search.rows import open_rows
from rayloop.jobs.search.worker import plan_of
from rayloop.jobs.training.loop import Place
from rayloop.platform.project import Project

given, number = json.loads(open(sys.argv[1]).read()), int(sys.argv[2])
shared, address = given["shared"], given["address"]
plan = plan_of(Project.model_validate_json(shared["project"]), shared, given["settings"])
if number:
    group.Rank().train(shared, plan, None, 2, address, number)
else:
    device = torch.device("cpu")
    group._join(device, address, 0, 2)
    training = group.build_training(shared, plan, None, Place(0, 2, device))
    _, rows, held_out = open_rows(shared, "cpu")
    losses = []
    while training.epoch < plan.epochs:
        losses.append(training.run_epoch(rows))
        training.evaluate(held_out)
    reducer = weakref.ref(training.module.reducer)
    group._leave(training.module)
    assert reducer() is None  # although the training is still there
    group._leave(None)  # nothing is left to leave
    print(json.dumps({"losses": losses, "score": training.best_score}))
"""


@pytest.fixture
def shared(workspace: Any, known: Any) -> dict[str, Any]:
    return shared_of(workspace, known.project, known.snapshot, epochs=3)


def start(folder: Path, shared: Mapping[str, Any], settings: Mapping[str, Any], number: int, address: str) -> Any:
    (folder / "rank.py").write_text(SCRIPT)
    given = folder / "given.json"
    given.write_text(json.dumps({"shared": {**shared, "workers": 2}, "settings": settings, "address": address}))
    command = [sys.executable, str(folder / "rank.py"), str(given), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_ranks_train_as_one_does(shared: dict[str, Any], known: Any, tmp_path: Path) -> None:
    settings = {"learning_rate": 0.01}
    plan = plan_of(known.project, shared, settings)
    alone = build_training(shared, plan, None, Place())
    _, rows, held_out = open_rows(shared, "cpu")
    losses = []
    for _ in range(3):
        losses.append(alone.run_epoch(rows))
        alone.evaluate(held_out)
    address = f"tcp://127.0.0.1:{free_port()}"
    ranks = [start(tmp_path, shared, settings, number, address) for number in (0, 1)]
    said = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    both = json.loads(said[0][0].splitlines()[-1])
    assert both["losses"] == pytest.approx(losses, rel=0.02)
    assert both["score"] == pytest.approx(alone.best_score, abs=0.05)


MODULE_SCRIPT = """
import sys, weakref
import torch
import torch.distributed as dist
from torch import nn
from rayloop.jobs.search import group
from rayloop.jobs.training.parallel import inner

device, address, number, times = torch.device("cpu"), sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = []  # as the traceback of a fault does
for turn in range(times):
    group._join(device, address[turn * 30 :][:30].strip(), number, 2)
    module = nn.parallel.DistributedDataParallel(nn.Linear(4, 4), gradient_as_bucket_view=True)
    for _ in range(20):
        module(torch.ones(8, 4)).mean().backward()
    reducer = weakref.ref(module.reducer)
    held.append(module)
    group._leave(module)
    assert reducer() is None
    assert not dist.is_initialized()
    assert inner(module)(torch.ones(1, 4)).shape == (1, 4)  # what it learnt is still there
    print("left", turn, flush=True)
"""


def test_ranks_leave_a_group_again_and_again_although_their_modules_are_held(tmp_path: Path) -> None:
    """Five groups in the same two processes, which then end by themselves."""
    script = tmp_path / "leave.py"
    script.write_text(MODULE_SCRIPT)
    addresses = "".join(f"tcp://127.0.0.1:{free_port()}".ljust(30) for _ in range(5))
    commands = [[sys.executable, str(script), addresses, str(number), "5"] for number in (0, 1)]
    ranks = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    try:
        said = [rank.communicate(timeout=90) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert [out.split()[-1] for out, _ in said] == ["4", "4"]


def test_a_rank_that_diverges_ends_the_others_too(shared: dict[str, Any], tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    ranks = [start(tmp_path, shared, {"learning_rate": 1e30}, number, address) for number in (0, 1)]
    said = [rank.communicate(timeout=120) for rank in ranks]
    assert all(rank.returncode for rank in ranks)
    assert any("the loss is NaN or infinite" in errors for _, errors in said)
