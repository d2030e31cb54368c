"""One layer's adapter: it holds the module with the parameters and replaces the layer's forward."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from sweeplora.errors import UserError

# LyCORIS warns about every LoKr factor that is small enough to be kept whole.
logging.getLogger("LyCORIS").setLevel(logging.ERROR)

# By default it benchmarks several kernels on a GPU and keeps the fastest, so results would vary between machines.
os.environ["LYCORIS_KERNEL_BACKEND"] = "torch"

Module = TypeVar("Module", bound=nn.Module)


class Adapter(ABC, Generic[Module]):
    """One module on one layer; replaces the layer's forward until `detach`.

    `key`: the layer's name in files. `module` holds the parameters and is usually a LyCORIS module; the forward is
    computed here, because those of LyCORIS are wrong or slow in places. `strength`: 0 is the unmodified layer, 1 the
    whole update. `plus`: prefixes of the parameter names that get LoRA+'s higher rate.

    An algorithm's adapter is created as `adapter(algorithm, key, layer, rank)`, with `rank` None for an algorithm
    without ranks. It creates its module, initialised from torch's generator so that the update starts at zero.
    """

    plus: ClassVar[tuple[str, ...]] = ()

    def __init__(self, key: str, module: Module, layer: nn.Module, algorithm: Any) -> None:
        self.key = key
        self.module = module.to(next(layer.parameters()).device)
        self.strength = 1.0
        self._layer = layer
        self._base = layer.forward
        self._skip: float = algorithm.module_dropout
        layer.forward = self.forward

    def detach(self) -> None:
        """Restore the layer's own forward."""
        del self._layer.forward

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the update at `strength`; 0 is the unmodified layer."""
        if self.strength == 0 or (self._skip and self.module.training and torch.rand(1).item() < self._skip):
            base: Tensor = self._base(x)
            return base
        return self.output(x)

    @abstractmethod
    def output(self, x: Tensor) -> Tensor:
        """The layer's output with the update at a strength other than 0."""

    @property
    def merged_bytes(self) -> int | None:
        """Bytes that `merge` keeps until `unmerge`; None: this adapter cannot merge."""
        return None

    def merge(self) -> None:
        """Compute the changed weight once, for float32 forward passes without gradients, until `unmerge`.

        The layer's own weight is not touched.
        """
        raise NotImplementedError

    def unmerge(self) -> None:
        """Drop what `merge` computed."""
        return

    def at(self, timesteps: Tensor, num_timesteps: int) -> None:
        """Set the noise levels [B] of a batch, below `num_timesteps`, before the layer processes it."""
        return

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to resume training."""
        return dict(self.module.named_parameters())

    @abstractmethod
    def file_tensors(self) -> dict[str, Tensor]:
        """The tensors that a file stores for this adapter, by the names that loaders expect."""

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """The update that one layer's tensors in a file add to its weight, in the weight's shape, without DoRA.

        alpha / rank is already multiplied into the factors that the algorithm's `FileKind.scaled` names. Implemented
        for mergeable kinds of files, with the same function that `WeightAdapter.update` calls.
        """
        raise NotImplementedError(f"a file of {cls.__name__} cannot be merged")

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load this layer's tensors from a file, so that the update equals the file's.

        Raises UserError for a tensor that is missing, unknown, or of another shape.
        """
        tensors = self._formed(tensors)
        known = self.loaded_names()
        for name in (*tensors, *known):
            if name not in known or (name not in tensors and name not in ("alpha", "bm.weight")):
                word = "unknown to" if name in tensors else "missing for"
                raise self._unfit(name, f"{word} this network; choose the file's own algorithm and its options")
        with torch.no_grad():
            self._load(tensors)

    def loaded_names(self) -> tuple[str, ...]:
        """The names of the tensors that `_load` reads from a file."""
        return tuple(self.file_tensors())

    def _formed(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A file's tensors in this adapter's form, if a file may store the same update in another form."""
        return tensors

    @abstractmethod
    def _load(self, tensors: Mapping[str, Tensor]) -> None: ...

    def _copy(self, mine: Tensor, tensors: Mapping[str, Tensor], name: str, factor: float | Tensor = 1.0) -> None:
        """Copy a file's tensor times a factor; 1x1 kernels may be stored with or without their kernel dimensions."""
        given = tensors[name]
        if _plain(given.shape) != _plain(mine.shape):
            mend = f"has the shape {tuple(given.shape)}, not {tuple(mine.shape)}; use network.dim_from_weights=true"
            raise self._unfit(name, f"{mend}, and the file's own options")
        mine.copy_((given.to(mine.device, torch.float32) * factor).view(mine.shape))

    def _unfit(self, name: str, mend: str) -> UserError:
        return UserError("network.weights", f"{self.key}.{name}", mend)


def _plain(shape: torch.Size) -> tuple[int, ...]:
    return tuple(shape[:2]) if all(side == 1 for side in shape[2:]) else tuple(shape)
