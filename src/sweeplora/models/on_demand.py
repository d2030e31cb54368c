"""A network that is read from its files when it is first used, and that can leave memory again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


Fill = Callable[[ModuleT, torch.device, torch.dtype], ModuleT]


class OnDemand(Generic[ModuleT]):
    """One frozen network: `module` fills it from its files where it is not in memory, onto `device` in `precision`.

    `build` makes it without numbers, raising for files that do not fit; `fill` reads them. Once it has been released it
    is only there while it is needed; what was changed in it is lost.
    """

    def __init__(self, build: Callable[[], ModuleT], fill: Fill[ModuleT], device: torch.device) -> None:
        self._build = build
        self._fill = fill
        self._blank: ModuleT | None = build()
        self._module: ModuleT | None = None
        self.device = device
        self.precision = torch.float32
        self.is_released = False

    @property
    def module(self) -> ModuleT:
        """The network, on `device` in `precision`."""
        if self._module is None:
            self._module = self._fill(self._blank or self._build(), self.device, self.precision)
            self._blank = None
        return self._module

    @property
    def is_held(self) -> bool:
        """Whether it is in memory."""
        return self._module is not None

    def place(self, device: torch.device, precision: torch.dtype) -> None:
        """Move it if it is in memory; otherwise, that is where and how it is read."""
        self.device, self.precision = device, precision
        if self._module is not None:
            # nn.Module's `to`, because that of diffusers warns about half precision on a CPU.
            nn.Module.to(self._module, device, precision)

    def release(self) -> None:
        """Take it out of memory, where it is from now on only while it is needed."""
        self.is_released = True
        self.drop()

    def drop(self) -> None:
        """Take it out of memory, until it is used again."""
        if self._module is None:
            return
        self._module = None
        gc.collect()  # networks refer to themselves
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
