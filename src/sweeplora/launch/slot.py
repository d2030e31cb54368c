"""A slot: a place for one training at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
            **passive_waiting(),
        }


def passive_waiting(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that make OpenMP threads sleep while they wait; none if the user has set a wait policy.

    Spinning threads occupy the core that the thread they wait for needs: on a busy machine a training comes to a
    standstill. GNU's OpenMP, which torch's Linux packages link, reads OMP_WAIT_POLICY; Intel's and LLVM's read
    KMP_BLOCKTIME.
    """
    if any(name in environment for name in _WAITING):
        return {}
    return {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
