"""The machine is described by plain values, and its load is a mean over the time since it was last asked."""

from __future__ import annotations

import json
import time

import torch
from rayloop.jobs.training.machine import LoadSampler, describe_machine


def test_the_machine_is_plain_values() -> None:
    found = json.loads(json.dumps(describe_machine()))
    assert found["cpus"] >= 1
    assert found["memory_bytes"] > 1 << 28
    assert found["torch_threads"] == torch.get_num_threads()
    assert found["processor"]
    assert isinstance(found["gpus"], list)


def test_a_busy_process_is_seen_and_an_idle_one_too() -> None:
    sampler = LoadSampler(period_s=0.05)
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            sum(range(10_000))
        busy = sampler.take()
        time.sleep(0.5)
        idle = sampler.take()
    finally:
        sampler.stop()
    assert busy["system/process_cpu_percent"] > 2 * idle["system/process_cpu_percent"]
    assert 0 <= busy["system/cpu_percent"] <= 100
    assert 0 < busy["system/memory_percent"] < 100
    assert busy["system/process_memory_bytes"] > 1 << 24
    assert busy["system/network_received_bytes_per_s"] >= 0
