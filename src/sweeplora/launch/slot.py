"""One place for one training at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


class Shape(NamedTuple):
    """What the last bits of a training's numbers depend on beside its configuration and the machine."""

    processes: int
    threads: int


@dataclass(frozen=True)
class Slot:
    """One place for one training at a time: how many processes, each with how many threads, on which device."""

    index: int
    processes: int
    threads: int
    device: Literal["cpu", "cuda"]
    gpus: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """The same for every attempt of a trial and every trial of a study."""
        return Shape(self.processes, self.threads)

    def environment(self) -> dict[str, str]:
        """What a training here must find in its environment beside what it inherits."""
        threads = str(self.threads)
        return {
            "SWEEPLORA_SUPERVISED": "1",
            "SWEEPLORA_DEVICE": self.device,
            "CUDA_VISIBLE_DEVICES": ",".join(self.gpus),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            **passive_waiting(),
        }


def passive_waiting(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Have OpenMP threads sleep while they wait for each other; nothing where the user says how they wait.

    Threads that wait actively hold the core that the one they wait for needs: beside other work a training comes to
    a standstill. OMP_WAIT_POLICY is what GNU's OpenMP reads, which torch's packages for Linux link; KMP_BLOCKTIME is
    Intel's and LLVM's.
    """
    if any(name in environment for name in _WAITING):
        return {}
    return {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
