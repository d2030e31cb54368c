"""The tensors of a network's file, the update that they make, and a base model with such files merged into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sweeplora.models.family import Family
from sweeplora.networks.file.fit import check_mergeable
from sweeplora.networks.file.held import read
from sweeplora.networks.file.update import _scaled_tensors, change
from sweeplora.networks.keys import encoder_layers, unet_key


@torch.no_grad()
def merge(family: Family, files: Sequence[Path], multipliers: Sequence[float]) -> None:
    """Add to the model's weights, in their precision, what each file changes at its multiplier, file after file.

    Merge into float32 weights before anything else is done with them. A DoRA at multiplier m moves the weight m
    of the way to its decomposed form. Raises UserError for `model.base_weights`.
    """
    check_mergeable("model.base_weights", files, family.facts)
    layers = _layers(family)
    for path, multiplier in zip(files, multipliers, strict=True):
        for key, one in read("model.base_weights", path, family.facts).items():
            weight = layers[key].get_parameter("weight")
            tensors = _scaled_tensors(one, weight.device)
            weight.copy_(weight.float() + multiplier * change(one.kind, tensors, weight.float()))
            bias = tensors.get(_BIASES.get(one.kind, ""))
            if bias is not None:
                layers[key].get_parameter("bias").add_(multiplier * bias)


_BIASES = {"full": "diff_b", "norm": "b_norm"}


def _layers(family: Family) -> dict[str, nn.Module]:
    """Every layer that a file can name, by our keys."""
    parts, layout = dict(family.unet.named_modules()), family.facts.layout
    names = layout.unet_names(family.facts.unet_shapes())
    found = {unet_key(original): parts[name] for name, original in names.items()}
    for encoder, prefix in zip(family.text_encoders, layout.encoder_prefixes, strict=True):
        modules = dict(encoder.named_modules())
        found |= {key: modules[name] for name, key in encoder_layers(modules, "full", prefix).items()}
    return found
