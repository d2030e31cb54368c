"""The training loop: windows of batches become optimizer steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Generator, Tensor
from torch.optim import Optimizer

from sweeplora.data.batches import Batch, share
from sweeplora.data.loader import Loaded, Loader
from sweeplora.diffusion.losses import Loss
from sweeplora.diffusion.targets import Noising, add_noise, target
from sweeplora.diffusion.timesteps import uniform
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.lycoris import Network
from sweeplora.optim import FlatGradients, LearningRates
from sweeplora.processes import Processes
from sweeplora.randomness import seed_of

Noise = Callable[[Tensor, Sequence[Generator]], Tensor]


@dataclass(frozen=True)
class Train:
    """Length, batch, precision, and when something is saved or validated.

    epochs or steps (optimizer steps) give the length. batch_size counts images of one bucket over all
    processes, accumulation batches to a step. max_grad_norm 0 never clips. Timesteps are drawn from
    [min_timestep, max_timestep). save_every_epochs and validate_every_epochs: 0 leaves the last (and for
    validation the first); validate_every_steps counts optimizer steps and adds to the latter.
    validation_timesteps noise levels are scored for every held-out image, and for probe_images training images.
    """

    epochs: Annotated[int, Ge(1)] | None
    steps: Annotated[int, Ge(1)] | None
    batch_size: Annotated[int, Ge(1)]
    accumulation: Annotated[int, Ge(1)]
    max_grad_norm: Annotated[float, Ge(0)]
    mixed_precision: Literal["no", "fp16", "bf16"]
    save_precision: Literal["fp32", "fp16", "bf16"]
    gradient_checkpointing: bool
    min_timestep: Annotated[int, Ge(0)]
    max_timestep: Annotated[int, Ge(1)]
    save_every_epochs: Annotated[int, Ge(0)]
    validate_every_epochs: Annotated[int, Ge(0)]
    validate_every_steps: Annotated[int, Ge(0)]
    validation_timesteps: Annotated[int, Ge(1)]
    probe_images: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise UserError("train.epochs", self.epochs, f"with train.steps={self.steps}; give one, the other null")
        if self.min_timestep >= self.max_timestep:
            raise UserError(
                "train.min_timestep",
                self.min_timestep,
                f"must be below train.max_timestep={self.max_timestep}",
            )


class Diverged(Exception):
    """The loss is not finite any more; says the step and the files of the batches where it happened."""


class Interrupted(Exception):
    """Some process was asked to stop; all stop after the same step."""


@dataclass(frozen=True)
class Recipe:
    """What a step computes: noise, loss, noise levels and the numbers of the `train` group."""

    noise: Noise
    loss: Loss
    noising: Noising
    settings: Train
    seed: int


class Trainer:
    """The state that lives through a training: network, optimizer, gradients and the count of steps."""

    def __init__(
        self,
        recipe: Recipe,
        family: Family,
        network: Network,
        optimizer: Optimizer,
        processes: Processes,
    ) -> None:
        self.recipe = recipe
        self.family = family
        self.network = network
        self.optimizer = optimizer
        self.processes = processes
        self.step = 0
        self._rates = LearningRates(optimizer)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        self._flat = FlatGradients(trained, room=recipe.settings.accumulation + 1)

    def train_window(self, window: Sequence[Batch], epoch: int, loader: Loader, multiplier: float) -> dict[str, float]:
        """One optimizer step over a window of batches; returns what to log.

        Raises Diverged when the window's loss is not finite and Interrupted when a process was asked to stop;
        in both cases nothing is updated.
        """
        started = time.perf_counter()
        self._flat.clear()
        total = sum(len(batch.items) for batch in window)
        for number, batch in enumerate(window):
            self._accumulate(number, batch, epoch, loader, total)
        self._flat.room[-1] = float(self.processes.stop.asked)
        self.processes.sum_(self._flat.buffer)
        *sums, stop = self._flat.room.tolist()
        if stop:
            raise Interrupted(f"asked to stop after step {self.step}")
        loss = sum(sums) / total
        if not math.isfinite(loss):
            raise self._diverged("loss", _culprits(window, sums))
        norm = self._clip()
        if self.processes.scaler is None and not math.isfinite(norm):
            raise self._diverged("gradient", window)
        self._update(multiplier)
        self.step += 1
        seconds = time.perf_counter() - started
        return {
            "loss": loss,
            "grad_norm": norm,
            "images_per_second": total / seconds,
            **self._rates.current(),
        }

    def _accumulate(self, number: int, batch: Batch, epoch: int, loader: Loader, total: int) -> None:
        mine = share(batch, self.processes.rank, self.processes.world_size)
        if not mine.items:
            return
        loaded = loader.load(mine, epoch)
        with _library_draws(seed_of(self.recipe.seed, "library", self.step, number), self.processes.device):
            losses = self.losses(loaded, epoch)
            self.processes.backward(losses.sum() / total)
        self._flat.room[number] += losses.detach().sum()

    def losses(self, loaded: Loaded, epoch: int) -> Tensor:
        """Weighted loss [b] of each sample of a loaded batch."""
        recipe, device = self.recipe, self.processes.device
        latents = loaded.latents.to(device)
        draws = [(epoch, item.index, item.repeat) for item in loaded.items]
        timesteps = uniform(
            _generators(recipe.seed, "timestep", draws),
            recipe.settings.min_timestep,
            recipe.settings.max_timestep,
        )
        noise = recipe.noise(loaded.latents, _generators(recipe.seed, "noise", draws)).to(device)
        alphas = recipe.noising.alphas_cumprod[timesteps].to(device, torch.float32)
        timesteps = timesteps.to(device)
        noisy = add_noise(latents, noise, alphas)
        with self.processes.autocast():
            text = loaded.text()
            output = self.family.predict(noisy, timesteps, text, loaded.sizes.to(device))
        wanted = target(latents, noise, alphas, recipe.noising.prediction)
        return recipe.loss(output, wanted, timesteps, recipe.noising)

    def _clip(self) -> float:
        """Bring the gradients to their true scale and clip them; returns their norm from before."""
        if self.processes.scaler is not None:
            self.processes.scaler.unscale_(self.optimizer)
        return float(self._flat.clip(self.recipe.settings.max_grad_norm))

    def _diverged(self, what: str, batches: Sequence[Batch]) -> Diverged:
        names = dict.fromkeys(name for batch in batches for name in batch.names)
        return Diverged(f"the {what} of step {self.step + 1} is not finite; its files: {', '.join(names)}")

    def _update(self, multiplier: float) -> None:
        scaler = self.processes.scaler
        self._rates.set(multiplier)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()


@contextmanager
def _library_draws(seed: int, device: torch.device) -> Iterator[None]:
    """What libraries draw by themselves (rank and module dropout) follows from `seed`; the generators are put back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _generators(seed: int, what: str, draws: Sequence[tuple[int, int, int]]) -> list[Generator]:
    return [Generator().manual_seed(seed_of(seed, what, *draw)) for draw in draws]


def _culprits(window: Sequence[Batch], sums: Sequence[float]) -> list[Batch]:
    return [batch for batch, total in zip(window, sums, strict=False) if not math.isfinite(total)]
