"""One place for one training at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Slot:
    """One place for one training at a time: how many processes, each with how many threads, on which device."""

    index: int
    processes: int
    threads: int
    device: Literal["cpu", "cuda"]
    gpus: tuple[str, ...]

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
        }
