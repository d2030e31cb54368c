"""Gradient checkpointing changes no number: it only keeps less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.models.family import Family
from sweeplora.networks.network import Network, attach
from tests.models.families import CPU


def with_network(model: str, folder: Path) -> tuple[Family, Network]:
    overrides = [f"model={model}", f"model.path={folder}", "model.max_tokens=150", "network.text_encoders=true"]
    config: dict[str, Any] = compose(overrides).config
    family: Family = build(config["model"]).load(CPU)
    network = attach(family, build(config["network"]), 0)
    with torch.no_grad():
        for parameter in network.parameters("text_encoder"):
            parameter.add_(0.01)
    return family, network


def encoded(family: Family, network: Network) -> tuple[Tensor, list[Tensor | None], int]:
    """Hidden states of captions, the encoders' gradients, and how many numbers were kept for these."""
    kept: list[int] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        text = family.encode_text(["red cat", "x " * 100])
    (text.hidden.square().sum() + text.pooled.sum()).backward()
    return text.hidden.detach(), [parameter.grad for parameter in network.parameters("text_encoder")], sum(kept)


@pytest.mark.parametrize("model", ["sdxl", "sd15"])
def test_checkpointed_text_encoders_have_the_same_gradients_and_keep_less(
    model: str, tiny_model: Path, tiny_sd15: Path
) -> None:
    folder = tiny_model if model == "sdxl" else tiny_sd15
    hidden, gradients, kept = encoded(*with_network(model, folder))
    family, network = with_network(model, folder)
    family.checkpoint_gradients(encoders=True)
    hidden_now, gradients_now, kept_now = encoded(family, network)
    assert torch.equal(hidden, hidden_now)
    assert sum(gradient is not None for gradient in gradients) > 10
    for gradient, now in zip(gradients, gradients_now, strict=True):
        assert (gradient is None and now is None) or torch.equal(gradient, now)  # type: ignore[arg-type]
    assert kept_now < kept / 4


def test_frozen_text_encoders_are_left_alone(tiny_model: Path) -> None:
    family, _ = with_network("sdxl", tiny_model)
    family.checkpoint_gradients(encoders=False)
    assert not any(module.training for encoder in family.text_encoders for module in encoder.modules())
