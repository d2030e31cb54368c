"""One layer's adapter: it holds the module with the parameters and replaces the layer's forward."""

from __future__ import annotations

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.errors import UserError
from sweeplora.networks.adapters.four_products import layer_plus_update
from sweeplora.networks.adapters.frozen import Layer, is_computable
from sweeplora.networks.algorithms import Decomposed
from sweeplora.networks.blocks import Rank

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


class WeightAdapter(Adapter[Module]):
    """An adapter on a linear layer or a convolution, whose update can be added to the layer's weight.

    Beside the layer: the update's output is added to the layer's. In the weight: if everything is float32, the
    changed weight replaces the layer's, which saves one of two products. `can_merge`: in evaluation, the output is that
    of the layer with the update in its weight; false for one that depends on more, such as the noise level.
    """

    can_merge: ClassVar[bool] = True
    _layer: Layer

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._kind = F.conv2d if isinstance(layer, nn.Conv2d) else F.linear
        self._options = geometry(layer)
        self._shape = layer.weight.shape  # an 8-bit layer computes its weight on every read
        self._bypass: bool | None = algorithm.bypass_mode if "bypass_mode" in vars(algorithm) else None
        self._merged: tuple[Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the update at `strength`; 0 is the unmodified layer, also while merged."""
        if self._merged is None or self.strength == 0:
            return super().forward(x)
        weight, bias = self._merged
        output: Tensor = self._kind(x, weight, bias, **self._options)
        return output

    @property
    def merged_bytes(self) -> int | None:
        """Bytes of the weight in float32."""
        return math.prod(self._shape) * torch.float32.itemsize if self.can_merge else None

    def merge(self) -> None:
        """Compute weight and bias at the current strength, for float32 forward passes, until `unmerge`."""
        assert not self.module.training, "dropout cannot be merged"
        self._merged = (self.whole(), self.whole_bias())

    def unmerge(self) -> None:
        """Drop what `merge` computed."""
        self._merged = None

    @abstractmethod
    def update(self) -> Tensor:
        """The update to the layer's weight at strength 1 without dropout: in its shape, scaled once, float32."""

    def factors(self) -> list[Tensor]:
        """Tensors whose product is the update, which share a max-norm rescaling; empty: no limit applies."""
        return []

    def norm(self) -> Tensor:
        """Frobenius norm of the scaled update, or of what LyCORIS limits instead."""
        norm: Tensor = torch.linalg.vector_norm(self.update())
        return norm

    def output(self, x: Tensor) -> Tensor:
        """The layer's output with the update in its weight, or computed separately and added."""
        layer, dtype = self._layer, self._precision(x)
        if not self._bypass and dtype == torch.float32 == layer.weight.dtype:
            whole: Tensor = self._kind(x, self.whole(), layer.bias, **self._options)
            return whole
        with torch.autocast(x.device.type, enabled=False):
            return self._beside_in(x.to(dtype))

    def _beside_in(self, x: Tensor) -> Tensor:
        """The layer's output with the update computed separately, in the precision of x; outside autocast."""
        return self._plus(x, self.change().to(x.dtype))

    def _low_rank_added(self, base: Tensor, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """base + up(down(x)) for factors down [r, in x window] and up [out, r], cast to the precision of x."""
        down, up = down.to(x.dtype).view(len(down), *self._shape[1:]), up.to(x.dtype)
        hidden = self._kind(x, down, None, **self._options)
        if self._kind is F.linear:
            return torch.addmm(base.flatten(0, -2), hidden.flatten(0, -2), up.t()).view(base.shape)
        return base + F.conv2d(hidden, up[:, :, None, None])

    def _precision(self, x: Tensor) -> torch.dtype:
        """The precision that the layer computes in."""
        kind = x.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype

    def _plus(self, x: Tensor, change: Tensor) -> Tensor:
        """The layer's output with its weight changed by `change`, both in the precision of x; outside autocast."""
        if is_computable(self._layer):
            return layer_plus_update(self._layer, x, change)
        return self._base_in(x) + self._kind(x, change, None, **self._options)

    def _base_in(self, x: Tensor) -> Tensor:
        """The unmodified layer's output in the precision of x, which may be another than its weight's."""
        is_wide = next(self._layer.parameters()).dtype != x.dtype
        with torch.autocast(x.device.type, x.dtype if is_wide else None, enabled=is_wide):
            output: Tensor = self._base(x)
        return output

    def whole(self) -> Tensor:
        """The changed weight in float32, at the current strength."""
        return weight_of(self._layer) + self.change()

    def whole_bias(self) -> Tensor | None:
        """The layer's bias in float32, with its change if the algorithm has one."""
        bias = self._layer.bias
        return None if bias is None else bias.float()

    def change(self) -> Tensor:
        """The update to the layer's weight at the current strength; always in float32.

        In half precision a small update would be lost in the sum with the weight.
        """
        change = self._dropped(self.update())
        return change if self.strength == 1 else self.strength * change

    def _dropped(self, update: Tensor) -> Tensor:
        return update

    def _channels(self, values: Tensor) -> Tensor:
        """One value per output channel, shaped to broadcast with the layer's output."""
        return values.view(-1, 1, 1) if self._kind is F.conv2d else values


class Rows:
    """Rank dropout as LyCORIS defines it for a rebuilt weight: some of its rows are zeroed."""

    def __init__(self, algorithm: Any) -> None:
        self.rate: float = algorithm.rank_dropout
        self.scaled: bool = algorithm.rank_dropout_scale

    def kept(self, count: int, like: Tensor) -> Tensor:
        """A mask [count] of zeros (with probability `rate`) and ones, drawn on the CPU so that all devices agree.

        `scaled`: divided by the share that is kept, as in LyCORIS; if none is kept, everything stays zero.
        """
        kept = (torch.rand(count) >= self.rate).to(torch.float32)
        if self.scaled:
            kept = kept / kept.mean().clamp(min=1 / count)
        return kept.to(like.device, like.dtype)

    def of(self, update: Tensor) -> Tensor:
        """The update with the dropped rows zeroed."""
        return update * self.kept(len(update), update).view(-1, *[1] * (update.dim() - 1))


class RowsAdapter(WeightAdapter[Module]):
    """A `WeightAdapter` with rank dropout over the rows of its update."""

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._rows = Rows(algorithm)

    def _dropped(self, update: Tensor) -> Tensor:
        return self._rows.of(update) if self._rows.rate and self.module.training else update


class DecomposedAdapter(RowsAdapter[Module]):
    """A `RowsAdapter` whose weight may be decomposed into direction and trained magnitude (DoRA).

    The norm is taken per input channel, or with `wd_on_output` per output channel.
    """

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._dora: bool = algorithm.dora
        kept = 0 if algorithm.wd_on_output else 1
        self._axes = [axis for axis in range(layer.weight.dim()) if axis != kept]
        if self._dora:
            self._magnitude().data = channel_norms(weight_of(layer).detach(), self._axes)

    def _magnitude(self) -> nn.Parameter:
        return self.module.get_parameter("dora_scale")

    def whole(self) -> Tensor:
        """The changed weight in float32, at the current strength."""
        if not self._dora:
            return super().whole()
        base = weight_of(self._layer)
        whole = decomposed(base + self._dropped(self.update()), self._magnitude().float(), self._axes)
        return whole if self.strength == 1 else torch.lerp(base, whole, self.strength)

    def change(self) -> Tensor:
        """The update to the layer's weight at the current strength; always in float32."""
        return self.whole() - weight_of(self._layer) if self._dora else super().change()


def channel_norms(weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Norms over `axes`: [1, in, …] or [out, 1, …]; never 0, and bit-identical for equal weights."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=list(axes), keepdim=True)
    return norms + torch.finfo(torch.float32).eps


def decomposed(direction: Tensor, magnitude: Tensor, axes: Sequence[int]) -> Tensor:
    """DoRA: a weight of this direction whose channels have the norms `magnitude` (Liu et al. 2024, section 4)."""
    whole: Tensor = direction * (magnitude / channel_norms(direction, axes))
    return whole


def decomposed_options(algorithm: Decomposed, rank: Rank) -> dict[str, Any]:
    """The arguments common to LyCORIS' decomposable modules, from an algorithm's options."""
    return {
        "lora_dim": rank.dim,
        "alpha": rank.alpha,
        "use_tucker": algorithm.use_tucker,
        "use_scalar": algorithm.use_scalar,
        "weight_decompose": algorithm.dora,
        "wd_on_out": algorithm.wd_on_output,
        "rs_lora": algorithm.rs_lora,
    }


def geometry(layer: Layer) -> dict[str, Any]:
    """The arguments of a layer's function besides input, weight and bias."""
    if isinstance(layer, nn.Linear):
        return {}
    return {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight in float32."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.float()


def _plain(shape: torch.Size) -> tuple[int, ...]:
    return tuple(shape[:2]) if all(side == 1 for side in shape[2:]) else tuple(shape)
