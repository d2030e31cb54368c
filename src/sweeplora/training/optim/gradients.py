"""The buffers that hold a network's gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FlatGradients:
    """Makes every parameter's `grad` a view into one buffer per dtype.

    With one buffer, the norm, the clipping and the sum over processes take one operation each. A parameter that is
    not used in a step has a zero gradient, with any number of processes.

    `buffers`: everything to sum over processes. The first is float32 and ends with `extras`, a few values of the
    caller that are summed together with the gradients at no extra communication.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], extras: int) -> None:
        by_dtype: dict[torch.dtype, list[nn.Parameter]] = {torch.float32: []}
        for parameter in parameters:
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
        device = next(parameter.device for trained in by_dtype.values() for parameter in trained)
        buffers, gradients = [], []
        for dtype, trained in by_dtype.items():
            size = sum(parameter.numel() for parameter in trained)
            buffer = torch.zeros(size + (extras if dtype == torch.float32 else 0), dtype=dtype, device=device)
            _assign_views(buffer, trained)
            buffers.append(buffer)
            gradients += [buffer[:size]] if size else []
        self.buffers: tuple[Tensor, ...] = tuple(buffers)
        self.gradients: tuple[Tensor, ...] = tuple(gradients)
        self.extras: Tensor = buffers[0][len(buffers[0]) - extras :]

    def clear(self) -> None:
        """Set everything to zero; the views remain valid."""
        for buffer in self.buffers:
            buffer.zero_()

    def clip(self, max_norm: float, scale: float = 1.0) -> float:
        """Divide the gradients by `scale`, then clip them to `max_norm` (0: never); returns the norm before clipping.

        If the norm is not finite, the gradients are left unchanged and the step must be skipped.
        """
        norms = [torch.linalg.vector_norm(part, dtype=torch.float32) for part in self.gradients]
        norm = float(norms[0] if len(norms) == 1 else torch.stack(norms).norm()) / scale
        factor = min(1.0, max_norm / (norm + 1e-6)) / scale if max_norm > 0 else 1 / scale
        if math.isfinite(norm) and factor != 1:
            for part in self.gradients:
                part.mul_(factor)
        return norm


def _assign_views(buffer: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.grad = buffer[start:end].view_as(parameter)
        start = end
