"""What the machine of a training is, and how busy: CPU, memory, network, and GPUs where NVIDIA's library is."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib.util import find_spec
from typing import Any

import psutil
import torch

PERIOD_S = 1.0


def describe_machine() -> dict[str, Any]:
    """Hardware and threads, as a run records them."""
    found: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count() or 0,
        "memory_bytes": int(psutil.virtual_memory().total),
        "torch": str(torch.__version__),  # a class of its own, which torch.load refuses
        "torch_threads": torch.get_num_threads(),
        "gpus": [],
    }
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return found


class LoadSampler:
    """Looks once a second from a thread of its own; `take` gives the means since it was last asked."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._lock = threading.Lock()
        self._sums: dict[str, float] = {}
        self._count = 0
        self._process = psutil.Process()
        self._gpus = _gpu_handles()
        self._network = psutil.net_io_counters()
        self._taken_s = time.monotonic()
        self._ended = threading.Event()
        psutil.cpu_percent(None)  # both measure from their last call
        self._process.cpu_percent(None)
        threading.Thread(target=self._work, name="load sampler", daemon=True).start()

    def take(self) -> dict[str, float]:
        """Means since the last call, as `system/...`; percent of all CPUs, bytes, bytes a second."""
        self._look()
        with self._lock:
            found = {name: total / self._count for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
        now_s, network = time.monotonic(), psutil.net_io_counters()
        passed_s = max(now_s - self._taken_s, 1e-9)
        found["system/network_sent_bytes_per_s"] = (network.bytes_sent - self._network.bytes_sent) / passed_s
        found["system/network_received_bytes_per_s"] = (network.bytes_recv - self._network.bytes_recv) / passed_s
        self._network, self._taken_s = network, now_s
        return found

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        with self._lock:
            seen = {
                "system/cpu_percent": psutil.cpu_percent(None),
                "system/memory_percent": psutil.virtual_memory().percent,
                "system/process_cpu_percent": self._process.cpu_percent(None),
                "system/process_memory_bytes": float(self._process.memory_info().rss),
                **_gpu_load(self._gpus),
            }
            for name, value in seen.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._count += 1


def _gpu_handles() -> list[Any]:
    """NVIDIA's handles on the GPUs of this process; none without the library, a driver or a GPU."""
    if find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        places = list(range(pynvml.nvmlDeviceGetCount()))
        if shown is not None:
            places = [int(place) for place in shown.split(",") if place.strip().isdigit()]
        return [pynvml.nvmlDeviceGetHandleByIndex(place) for place in places]
    except pynvml.NVMLError:
        return []


def _gpu_load(handles: list[Any]) -> dict[str, float]:
    if not handles:
        return {}
    import pynvml

    found: dict[str, float] = {}
    for place, handle in enumerate(handles):
        try:
            load, memory = pynvml.nvmlDeviceGetUtilizationRates(handle), pynvml.nvmlDeviceGetMemoryInfo(handle)
            found[f"system/gpu{place}_percent"] = float(load.gpu)
            found[f"system/gpu{place}_memory_bytes"] = float(memory.used)
            found[f"system/gpu{place}_watts"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
        except pynvml.NVMLError:
            continue
    return found


def _processor() -> str:
    """The processor's own name; bits may differ between two kinds of them."""
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
