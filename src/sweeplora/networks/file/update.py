"""The tensors of a network's file and the update that they represent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from hydra.utils import get_object
from torch import Tensor

from sweeplora.networks.adapters.adapter import Adapter
from sweeplora.networks.adapters.decomposed_adapter import decomposed
from sweeplora.networks.file.held import Held
from sweeplora.networks.file_kind import FileKind
from sweeplora.tensors.reading import read_tensors


def scaled_tensors(one: Held, device: torch.device) -> dict[str, Tensor]:
    """One layer's tensors by their names in the file, in float32.

    alpha is removed: alpha / rank is multiplied into the factors that the kind's `scaled` names, so the update is
    their plain product. If no factor is low-rank there is no scale, as in every loader.
    """
    tensors = dict(read_tensors(one.tensors, device))
    tensors.pop("alpha", None)
    if one.rank is None or one.whole:
        return tensors
    for name in one.kind.scaled:
        if name in tensors:
            tensors[name] *= one.alpha / one.rank
    return tensors


def change(kind: FileKind, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """The update to a weight, in its shape, from the tensors that `scaled_tensors` returns; including DoRA.

    Raises RuntimeError for tensors whose shapes do not match each other or the weight.
    """
    adapter: type[Adapter[torch.nn.Module]] = get_object(kind.adapter)
    update = adapter.file_update(tensors, weight)
    magnitude = tensors.get("dora_scale")
    if magnitude is None:
        return update
    kept = 0 if magnitude.shape[0] == len(weight) and magnitude.shape[1] == 1 else 1
    return decomposed(weight + update, magnitude, [axis for axis in range(weight.dim()) if axis != kept]) - weight
