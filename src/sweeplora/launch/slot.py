"""One place for one trial at a time, and the GPUs that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Slot:
    """One place for one trial at a time."""

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


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the GPUs a child would see, without importing torch."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    told = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=30)
    lines = [line for line in told.stdout.splitlines() if line.startswith("GPU ")]
    return tuple(str(index) for index in range(len(lines)))
