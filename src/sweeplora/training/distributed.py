"""The processes of a training: one, or several under `accelerate launch`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from sweeplora.training.stop import Stop

Precision = Literal["no", "fp16", "bf16"]

DTYPES = {"no": torch.float32, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Processes:
    """This process among those of the run: rank, device, precision, stop requests, and sums over all processes.

    A backward pass does not reduce gradients: adapters patch `forward`, so DistributedDataParallel would not
    see them. Gradients share one buffer per dtype and are summed with `sum_`.
    """

    def __init__(self, precision: Precision, device: Literal["cpu", "cuda"], stop: Stop) -> None:
        # With TF32's ten mantissa bits, neither cached latents nor val/loss would be true float32 on newer GPUs.
        torch.backends.cudnn.allow_tf32 = False
        if device == "cuda":
            _be_deterministic()
        self._accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision, gradient_accumulation_steps=1)
        self.stop = stop
        self.rank: int = self._accelerator.process_index
        self.world_size: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self.dtype: torch.dtype = DTYPES[precision]
        expected = int(os.environ.get("WORLD_SIZE", "1"))
        assert self.world_size == expected, f"{self.world_size} processes joined, {expected} were started"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the run's precision."""
        context: AbstractContextManager[None] = self._accelerator.autocast()
        return context

    def sum_(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.sum_(torch.tensor(float(flag), device=self.device)))

    def end(self) -> None:
        """Leave the process group; otherwise the launcher reports an unclean exit."""
        self._accelerator.end_training()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _be_deterministic() -> None:
    """Have a GPU compute the same bits every time, without which no training could go on exactly.

    By default, gradients of attention and of convolutions are summed in the order in which the GPU's blocks end. What
    has no deterministic form is named in the log. cuBLAS reads the variable when it is first used.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling new tensors finds faults, and costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
