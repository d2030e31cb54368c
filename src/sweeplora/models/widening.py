"""Computes half-precision models in float32, layer by layer, so that no second copy of their weights ever exists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def widened(*models: nn.Module) -> Iterator[None]:
    """Within the context, every module computes with its half-precision weights in float32, which is exact.

    A module's own weights are widened when its forward pass begins and dropped when it ends, so the result is that of
    the model converted as a whole, at the memory of one layer. Give float32 inputs. Compiled models run uncompiled.
    """
    with ExitStack() as stack:
        layers = [module for model in models for module in model.modules() if _half(module)]
        for layer in layers:
            held = _Narrow()
            stack.callback(layer.register_forward_pre_hook(held.widen).remove)
            stack.callback(layer.register_forward_hook(held.restore, always_call=True).remove)
        if layers:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class _Narrow:
    """One module's half-precision weights while it computes with wide ones."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def widen(self, module: nn.Module, _: Any) -> None:
        self._tensors = _half(module)
        for name, tensor in self._tensors.items():
            wide = tensor.float()
            setattr(module, name, nn.Parameter(wide, False) if isinstance(tensor, nn.Parameter) else wide)

    def restore(self, module: nn.Module, _: Any, __: Any) -> None:
        for name, tensor in self._tensors.items():
            setattr(module, name, tensor)
        self._tensors = {}


def _half(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers in half precision that a module has itself, by name."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tensor for name, tensor in own if tensor.dtype in _HALF}
