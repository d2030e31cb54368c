"""The load of the machine in a run's record."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from sweeplora.rundir.metrics import MetricsTail, read_metrics
from sweeplora.rundir.record import read_result
from sweeplora.training.system import SystemMetrics, gpu_load, visible_gpus
from tests.run.trainings import ROOT, Trainings, train_in_a_fork

CPU = torch.device("cpu")


def test_a_training_samples_the_machine_and_leaves_its_metrics_alone(trainings: Trainings) -> None:
    run = trainings.folder("loaded", "train.epochs=1", "sample=none")
    train_in_a_fork(run, ROOT)
    assert (result := read_result(run)) is not None and result.status == "finished", run.log.read_text()[-2000:]
    series = read_metrics(run.system)
    assert series.keys() >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/process_memory_megabytes",
        "system/disk_available_megabytes",
    }
    assert not any(key.startswith("system/") for key in read_metrics(run.metrics))
    for step in series["system/process_memory_megabytes"]:
        assert 0 <= series["system/cpu_utilization_percentage"][step] <= 100
        assert 50 < series["system/process_memory_megabytes"][step] < psutil.virtual_memory().total / 1e6
        assert 0 < series["system/system_memory_usage_percentage"][step] < 100


def test_samples_become_rarer_and_no_attempt_samples_a_step_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("sweeplora.training.system.time.monotonic", lambda: now[0])
    file = tmp_path / "system.jsonl"
    sampler = SystemMetrics(file, CPU)
    for step in range(80):
        sampler.sample(step)
        now[0] += 0.5
    assert list(read_metrics(file)["system/process_memory_megabytes"]) == [0, 2, 6, 14, 30, 50, 70]
    again = SystemMetrics(file, CPU)
    for step in range(60, 80):
        now[0] += 10
        again.sample(step)
    points = MetricsTail(file).poll()
    assert len(points) == len({(point.key, point.step) for point in points})
    assert max(point.step for point in points) == 79


class Nvml(SimpleNamespace):
    """NVML of a machine with one GPU that does not tell its power, for this machine has none."""

    class NVMLError(Exception):
        """What NVML raises."""

    def __init__(self) -> None:
        super().__init__(nvmlInit=lambda: None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=3 * 10**9, total=12 * 10**9)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=97)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        raise self.NVMLError


def test_a_gpu_is_found_by_its_uuid_and_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="ab-cd"))
    ((index, handle),) = visible_gpus(torch.device("cuda", 0))
    assert (index, handle) == (0, "GPU-ab-cd")
    assert gpu_load(handle) == {
        "memory_usage_megabytes": 3000,
        "memory_usage_percentage": 25,
        "utilization_percentage": 97,
    }


def test_without_nvidias_driver_there_are_no_gpus_to_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert visible_gpus(torch.device("cuda", 0)) == []
    assert visible_gpus(CPU) == []
