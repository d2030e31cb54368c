"""Builds the objects of a config's groups, each once, and passes them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from sweeplora.config.instantiate import build
from sweeplora.data.dataset import Dataset
from sweeplora.models.family import Family
from sweeplora.networks.algorithms import Algorithm
from sweeplora.training.loop import Loss, Noise
from sweeplora.training.optim.optimizer import MakeOptimizer
from sweeplora.training.optim.rates import Rates
from sweeplora.training.optim.schedules import Schedule
from sweeplora.training.previews.settings import Sample
from sweeplora.training.settings import Train


class Model(Protocol):
    """A target of conf/model."""

    @property
    def vae_precision(self) -> Literal["fp32", "fp16", "bf16"]:
        """The autoencoder's precision."""
        ...

    @property
    def base_precision(self) -> Literal["fp8"] | None:
        """fp8: the frozen U-Net is held in 8 bits."""
        ...

    @property
    def merged(self) -> list[tuple[Path, float]]:
        """The LoRA files to merge into it first, each with its multiplier."""
        ...

    def load(self, device: torch.device, precision: torch.dtype | None = None) -> Family:
        """The frozen base on `device`, in float32; the U-Net in `precision` if given."""
        ...


class Images(Protocol):
    """A target of conf/data."""

    def read(self, divisor: int, default_resolution: int, cache: Path | None = None) -> Dataset:
        """The data set; `divisor` and `default_resolution` (pixels) are the model's."""
        ...


@dataclass(frozen=True)
class ConfigGroups:
    """A run's resolved config and the objects built from its groups.

    `optimizer` still needs its parameters; the other parts are ready for use.
    """

    config: Mapping[str, Any]
    model: Model
    data: Images
    algorithm: Algorithm
    optimizer: MakeOptimizer
    rates: Rates
    schedule: Schedule
    noise: Noise
    loss: Loss
    train: Train
    sample: Sample

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        seed: int = self.config["seed"]
        return seed

    @property
    def cache(self) -> Path:
        """The folder of latents, text outputs and hashes, shared by all runs."""
        return Path(self.config["runs"]) / "cache"


def build_groups(config: Mapping[str, Any]) -> ConfigGroups:
    """Build every group of a resolved config that a training uses; raises the UserError that a target raises."""
    return ConfigGroups(
        config=config,
        model=build(config["model"]),
        data=build(config["data"]),
        algorithm=build(config["network"]),
        optimizer=build(config["optimizer"]),
        rates=build(config["rates"]),
        schedule=build(config["scheduler"]),
        noise=build(config["noise"]),
        loss=build(config["loss"]),
        train=build(config["train"]),
        sample=build(config["sample"]),
    )
