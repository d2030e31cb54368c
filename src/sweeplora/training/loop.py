"""The training loop: windows of batches become optimizer steps."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from sweeplora.data.batches import Batch, share
from sweeplora.data.captions import Moment
from sweeplora.data.loader import Loaded, Request
from sweeplora.diffusion.noise import PerturbsInput
from sweeplora.diffusion.targets import Noising, add_noise, target
from sweeplora.diffusion.timesteps import uniform
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.network import Network
from sweeplora.randomness import seed_of
from sweeplora.training.distributed import Processes
from sweeplora.training.optim.current_rates import LearningRates
from sweeplora.training.optim.gradients import FlatGradients
from sweeplora.training.optim.loss_scale import LossScale
from sweeplora.training.optim.optimizer_state import load_optimizer, optimizer_state
from sweeplora.training.settings import Train
from sweeplora.training.stop import Interrupted

Noise = Callable[[Tensor, Sequence[Generator]], Tensor]
"""(latents [B, C, h, w], one generator per sample) -> noise of that shape; float32 on the latents' device."""

Loss = Callable[..., Tensor]
"""(output, target, timesteps, noising) -> losses [B]; with masked data a fifth argument, the mask [B, 1, h, w]."""


@runtime_checkable
class Remembers(Protocol):
    """A noise or a loss of a user's own that goes on from what it has seen, such as a running mean."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> object: ...


class Diverged(Exception):
    """A loss, gradient, weight or metric is not finite; the message says which and at what step."""


@dataclass(frozen=True)
class StepSettings:
    """What a step computes: noise, loss, noise levels and the numbers of the `train` group."""

    noise: Noise
    loss: Loss
    noising: Noising
    train: Train
    seed: int
    pieces: int = 1
    """In how many pieces a batch goes through the model, where memory is short."""


class Trainer:
    """The state of a training: network, optimizer, gradients and the count of steps."""

    def __init__(
        self,
        step_settings: StepSettings,
        family: Family,
        network: Network,
        optimizer: Optimizer,
        processes: Processes,
    ) -> None:
        self.step_settings = step_settings
        self.family = family
        self.network = network
        self.optimizer = optimizer
        self.processes = processes
        self.step = 0
        self.num_updates = 0
        self.largest_gradient = 0.0
        self._rates = LearningRates(optimizer)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        self._flat = FlatGradients(trained, extras=step_settings.train.accumulation * step_settings.pieces + 1)
        self._scale = LossScale() if step_settings.train.mixed_precision == "fp16" else None

    def requests(self, parts: Sequence[Sequence[Batch]], epoch: int, num_steps: int) -> list[Request]:
        """What this process loads for the next windows of an epoch, in order of use."""
        return [
            Request(mine, Moment(epoch, step, num_steps))
            for step, window in enumerate(parts, start=self.step)
            for batch in window
            if (mine := self._share(batch)).items
        ]

    def train_window(
        self, window: Sequence[Batch], epoch: int, stream: Iterator[Loaded], multiplier: float
    ) -> dict[str, float]:
        """One optimizer step over a window of batches; `stream` yields this process's shares. Returns what to log.

        Raises Diverged when the loss, the gradient or a limited weight is not finite, and Interrupted when a
        process was asked to stop. The gradient of a skipped step (fp16 overflow) is not logged.
        """
        started = time.perf_counter()
        self._flat.clear()
        total = sum(len(batch.items) for batch in window)
        for number, batch in enumerate(window):
            self._leave_if_alone()
            if self._share(batch).items:
                self._accumulate(number, next(stream), epoch, total)
        self._flat.extras[-1] = float(self.processes.stop.requested)
        for buffer in self._flat.buffers:
            self.processes.sum_(buffer)
        *sums, stop = self._flat.extras.tolist()
        if stop:
            raise self._interrupted()
        loss = sum(sums) / total
        if not math.isfinite(loss):
            raise self._diverged("loss", _culprits(window, sums))
        scale = 1.0 if self._scale is None else self._scale.value
        norm = self._flat.clip(self.step_settings.train.max_grad_norm, scale)
        self.largest_gradient = max(self.largest_gradient, norm)
        if scale <= 1 and not math.isfinite(norm):
            raise self._diverged("gradient", window)
        is_finite = math.isfinite(norm)
        self._update(multiplier, is_finite)
        self.step += 1
        limited = self._limit_norms()
        seconds = time.perf_counter() - started
        return {
            "loss": loss,
            **({"grad_norm": norm} if is_finite else {}),
            "images_per_second": total / seconds,
            **self._rates.current(),
            **limited,
        }

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as a tree of plain values and tensors, not copied.

        Randomness is none of it: it is computed from the seed and the step. The schedule sets the learning rate anew.
        """
        return {
            "step": self.step,
            "num_updates": self.num_updates,
            "largest_gradient": self.largest_gradient,
            "loss_scale": None if self._scale is None else self._scale.state(),
            "network": self.network.trained_tensors(),
            "optimizer": optimizer_state(self.optimizer),
            "parts": {name: dict(part.state_dict()) for name, part in self._remembering().items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises ValueError if it is another network's, or if the optimizer does not take its own state back. A noise or a
        loss that is another class's by now begins anew.
        """
        self.network.load_trained_tensors(state["network"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self._scale is not None:
            self._scale.load(state["loss_scale"])
        self.step, self.num_updates = state["step"], state["num_updates"]
        self.largest_gradient = state["largest_gradient"]
        for name, part in self._remembering().items():
            if name in state["parts"]:
                part.load_state_dict(state["parts"][name])

    def _remembering(self) -> dict[str, Remembers]:
        """The user's own parts that have a state, by group and class."""
        parts: dict[str, object] = {"noise": self.step_settings.noise, "loss": self.step_settings.loss}
        return {
            f"{group} {type(part).__qualname__}": part for group, part in parts.items() if isinstance(part, Remembers)
        }

    def check_weights(self) -> None:
        """Raise Diverged unless every trained weight is finite."""
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        if not bool(torch.stack([parameter.isfinite().all() for parameter in trained]).all()):
            raise self._weights_diverged()

    def check_learns(self, is_last: bool) -> None:
        """Raise UserError if every gradient so far was zero, and Diverged if every step up to the last was skipped."""
        if is_last and self.num_updates == 0:
            raise Diverged(f"every gradient of steps 1 to {self.step} is more than fp16 holds: nothing was learned")
        if self.largest_gradient == 0:
            mend = (
                f"every gradient of steps 1 to {self.step} is zero: nothing is learned; look for masks that hide "
                "everything, and for a weight of 0"
            )
            raise UserError("loss", 0, mend)

    def stop_if_asked(self) -> None:
        """Raise Interrupted, in every process, if any of them was asked to stop; nothing of the step has changed."""
        if self.processes.any(self.processes.stop.requested):
            raise self._interrupted()

    def _leave_if_alone(self) -> None:
        """Between two batches only a training of one process stops: several agree once a step."""
        if self.processes.world_size == 1 and self.processes.stop.requested:
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"asked to stop after step {self.step}")

    def _share(self, batch: Batch) -> Batch:
        return share(batch, self.processes.rank, self.processes.world_size)

    def _accumulate(self, number: int, loaded: Loaded, epoch: int, total: int) -> None:
        with _library_draws(seed_of(self.step_settings.seed, "library", self.step, number), self.processes.device):
            losses = self.losses(loaded, epoch)
            scale = 1.0 if self._scale is None else self._scale.value
            (losses.sum() * (scale / total)).backward()
        self._flat.extras[number] += losses.detach().sum()

    def losses(self, loaded: Loaded, epoch: int) -> Tensor:
        """Weighted loss [b] of each sample of a loaded batch.

        Raises UserError if a user's noise or loss returns the wrong shape.
        """
        step_settings, device = self.step_settings, self.processes.device
        loaded_latents = loaded.latents()
        latents = loaded_latents.to(device)
        draws = [(epoch, item.index, item.repeat) for item in loaded.items]
        timesteps = uniform(
            _generators(step_settings.seed, "timestep", draws),
            step_settings.train.min_timestep,
            step_settings.train.max_timestep,
        )
        noise, for_input = self._noise(loaded_latents, draws)
        alphas = step_settings.noising.alphas_cumprod[timesteps].to(device, torch.float32)
        timesteps = timesteps.to(device)
        noisy = add_noise(latents, for_input.to(device), alphas)
        self.network.at(timesteps, len(step_settings.noising.alphas_cumprod))
        with self.processes.autocast():
            text = loaded.text()
            output = self.family.predict(noisy, timesteps, text, loaded.sizes.to(device))
        wanted = target(latents, noise.to(device), alphas, step_settings.noising.prediction)
        masked = () if loaded.mask is None else (loaded.mask.to(device),)
        losses = step_settings.loss(output, wanted, timesteps, step_settings.noising, *masked)
        _refuse_other_shape("loss", losses, timesteps.shape)
        return losses * loaded.weights.to(losses)

    def _noise(self, latents: Tensor, draws: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
        """The noise of the target, and the noise of the input, which differs if the noise perturbs it."""
        noise: Any = self.step_settings.noise
        seed = self.step_settings.seed
        drawn = noise(latents, _generators(seed, "noise", draws))
        _refuse_other_shape("noise", drawn, latents.shape)
        if not isinstance(noise, PerturbsInput):
            return drawn, drawn
        for_input = noise.for_input(drawn, _generators(seed, "input noise", draws))
        _refuse_other_shape("noise", for_input, latents.shape)
        return drawn, for_input

    def _limit_norms(self) -> dict[str, float]:
        maximum = self.step_settings.train.max_weight_norm
        if not maximum:
            return {}
        limit = self.network.limit_norms(maximum)
        if not math.isfinite(limit.largest):
            raise self._weights_diverged()
        return {"weight_norm/scaled": limit.scaled, "weight_norm/mean": limit.mean, "weight_norm/max": limit.largest}

    def _weights_diverged(self) -> Diverged:
        return Diverged(f"the weights after step {self.step} are not finite; try a lower learning rate")

    def _diverged(self, what: str, batches: Sequence[Batch]) -> Diverged:
        names = dict.fromkeys(name for batch in batches for name in batch.names)
        return Diverged(f"the {what} of step {self.step + 1} is not finite; its files: {', '.join(names)}")

    def _update(self, multiplier: float, finite: bool) -> None:
        """Take the optimizer step, unless half precision overflowed: then only the loss scale changes."""
        self._rates.set(multiplier)
        if finite:
            with _library_draws(seed_of(self.step_settings.seed, "update", self.step), self.processes.device):
                self.optimizer.step()  # one that rounds at random draws for it
            self.num_updates += 1
        if self._scale is not None:
            self._scale.update(finite)


@contextmanager
def _library_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which libraries and a user's parts use, and restore torch's afterwards."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed also queues a call, with its traceback, for every kind of device that is not in use.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def _generators(seed: int, what: str, draws: Sequence[tuple[int, int, int]]) -> list[Generator]:
    return [Generator().manual_seed(seed_of(seed, what, *draw)) for draw in draws]


def _refuse_other_shape(key: str, found: Tensor, wanted: Sequence[int]) -> None:
    """Refuse a wrong shape that would silently broadcast in training."""
    if found.shape != torch.Size(wanted):
        raise UserError(key, list(found.shape), f"is the shape of what it returned here; it must be {list(wanted)}")


def _culprits(window: Sequence[Batch], sums: Sequence[float]) -> list[Batch]:
    return [batch for batch, total in zip(window, sums, strict=False) if not math.isfinite(total)]
