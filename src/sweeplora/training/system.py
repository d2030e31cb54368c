"""The load of the machine that trains: processor, memory, disk and GPUs, under MLflow's names and in its units.

MLflow shows what is called `system/…` on a page of its own, System metrics.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from sweeplora.rundir.metrics import MetricsWriter, read_metrics

_FIRST_SECONDS = 1.0
_SECONDS = 10.0
"""Between two samples, the first of which is at the first step: one second, then twice the last pause, up to ten as in
MLflow."""

_MEGA = 1e6


class SystemMetrics:
    """Appends samples to a run's `system.jsonl` while it trains, at most one a step."""

    def __init__(self, file: Path, device: torch.device) -> None:
        self._folder = file.parent
        self._last = max((max(steps) for steps in read_metrics(file).values()), default=-1)
        self._writer = MetricsWriter(file)
        self._process = psutil.Process()
        self._gpus = visible_gpus(device)
        self._pause = _FIRST_SECONDS / 2
        self._due = time.monotonic()
        psutil.cpu_percent()  # the next call measures from here

    def sample(self, step: int) -> None:
        """Take a sample if one is due and neither this attempt nor an earlier one has one of this step or a later."""
        if time.monotonic() < self._due or step <= self._last:
            return
        self._writer.write(step, self._measured())
        self._last = step
        self._pause = min(_SECONDS, 2 * self._pause)
        self._due = time.monotonic() + self._pause

    def _measured(self) -> dict[str, float]:
        values = machine_load(self._folder)
        values["process_memory_megabytes"] = self._process.memory_info().rss / _MEGA
        for index, handle in self._gpus:
            values |= {f"gpu_{index}_{key}": value for key, value in gpu_load(handle).items()}
        return {f"system/{key}": round(value, 1) for key, value in values.items()}


def machine_load(folder: Path) -> dict[str, float]:
    """Processor in % of all cores since the last call, memory in use in MB and %, MB free on the disk of a folder."""
    memory = psutil.virtual_memory()
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / _MEGA,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
        "disk_available_megabytes": psutil.disk_usage(str(folder)).free / _MEGA,
    }


def visible_gpus(device: torch.device) -> Sequence[tuple[int, Any]]:
    """(index as torch counts, NVML's handle) of each NVIDIA GPU that this process may use; none on a CPU.

    NVML counts all GPUs of the machine, so they are found by their UUID. Asking does not occupy memory on any of them.
    """
    if device.type != "cuda":
        return []
    import pynvml

    found = []
    with suppress(pynvml.NVMLError):  # no driver of NVIDIA's, or a slice of a GPU, which has no load of its own
        pynvml.nvmlInit()
        for index in range(torch.cuda.device_count()):
            uuid = torch.cuda.get_device_properties(index).uuid
            found.append((index, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")))
    return found


def gpu_load(handle: Any) -> dict[str, float]:
    """A GPU's memory in use (MB, %), utilisation (%) and power (W, %); what a GPU does not tell is left out."""
    import pynvml

    found: dict[str, float] = {}
    with suppress(pynvml.NVMLError):
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        found["memory_usage_megabytes"] = memory.used / _MEGA
        found["memory_usage_percentage"] = 100 * memory.used / memory.total
    with suppress(pynvml.NVMLError):
        found["utilization_percentage"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    with suppress(pynvml.NVMLError):
        milliwatts = pynvml.nvmlDeviceGetPowerUsage(handle)
        found["power_usage_watts"] = milliwatts / 1000
        found["power_usage_percentage"] = 100 * milliwatts / pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)
    return found
