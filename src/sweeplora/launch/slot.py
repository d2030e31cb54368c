"""A slot: a place for one training at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

_SPINS = "2000"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


class Shape(NamedTuple):
    """What a training's numbers depend on, to the last bit, besides its configuration and the machine."""

    processes: int
    threads: int


@dataclass(frozen=True)
class Slot:
    """A place for one training at a time: number of processes, threads per process, and device."""

    index: int
    processes: int
    threads: int
    device: Literal["cpu", "cuda"]
    gpus: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """The slot's shape, the same for every attempt of a trial and every trial of a study."""
        return Shape(self.processes, self.threads)

    def environment(self) -> dict[str, str]:
        """Environment variables for a training in this slot, on top of the inherited ones."""
        threads = str(self.threads)
        return {
            "SWEEPLORA_SUPERVISED": "1",
            "SWEEPLORA_DEVICE": self.device,
            "CUDA_VISIBLE_DEVICES": ",".join(self.gpus),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            **brief_waiting(),
        }


def brief_waiting(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that make OpenMP threads sleep after a short wait; none if the user has set a wait policy.

    A thread that spins occupies the core that the thread it waits for needs: on a busy machine a training comes to a
    standstill. One that sleeps at once has to be woken for every operation, which doubles a step of a small model on an
    idle machine. A few microseconds of spinning cost little in both (benchmarks/waiting.py has the figures). GNU's
    OpenMP, which torch's Linux packages link, reads the first two; Intel's and LLVM's read KMP_BLOCKTIME, in
    milliseconds.
    """
    if any(name in environment for name in _WAITING):
        return {}
    return {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": _SPINS, "KMP_BLOCKTIME": "0"}
