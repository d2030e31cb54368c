"""Merges network files into a base model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.file.fit import refuse_unmergeable
from sweeplora.networks.file.held import Held, read
from sweeplora.networks.file.update import change, scaled_tensors
from sweeplora.networks.keys import encoder_layers, unet_key

_KEY = "model.base_weights"


@torch.no_grad()
def merge(family: Family, files: Sequence[Path], multipliers: Sequence[float]) -> None:
    """Add each file's update, times its multiplier, to the model's weights in their precision, file by file.

    Merge into float32 weights, before any other change to them. A DoRA with multiplier m moves the weight a share m
    of the way to its decomposed form. Raises UserError for `model.base_weights`, before the first file is merged.
    """
    contents = [read(_KEY, path, family.facts) for path in files]
    for path, held in zip(files, contents, strict=True):
        refuse_unmergeable(_KEY, path, held)
    layers = _layers(family)
    for path, held, multiplier in zip(files, contents, multipliers, strict=True):
        for key, one in held.items():
            try:
                _add(layers[key], one, multiplier)
            except RuntimeError as error:
                mend = f"{key} does not fit its layer: {error}; get the file again".replace("\n", " ")
                raise UserError(_KEY, path, mend) from error


def _add(layer: nn.Module, one: Held, multiplier: float) -> None:
    weight = layer.get_parameter("weight")
    tensors = scaled_tensors(one, weight.device)
    weight.copy_(weight.float() + multiplier * change(one.kind, tensors, weight.float()))
    if one.kind.bias in tensors:
        layer.get_parameter("bias").add_(multiplier * tensors[one.kind.bias])


def _layers(family: Family) -> dict[str, nn.Module]:
    """Every layer that a file can name, by our keys."""
    parts, layout = dict(family.unet.named_modules()), family.facts.layout
    names = layout.unet_names(family.facts.unet_shapes())
    found = {unet_key(original): parts[name] for name, original in names.items()}
    for encoder, prefix in zip(family.text_encoders, layout.encoder_prefixes, strict=True):
        modules = dict(encoder.named_modules())
        found |= {key: modules[name] for name, key in encoder_layers(modules, "full", prefix).items()}
    return found
