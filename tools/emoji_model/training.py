"""A seeded training loop that keeps an average of the weights and goes on from its last checkpoint."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

SAVE_EVERY_SECONDS = 120.0
SAY_EVERY_STEPS = 100


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn; the learning rate warms up and follows a cosine to 1 % of itself.

    A step's loss is the mean over `parts` that are computed side by side, each in a thread of its own: on a busy
    machine threads that meet once a step wait less for each other than threads that meet in every operation.
    """

    steps: int
    learning_rate: float
    minutes: float = math.inf
    warmup: int = 200
    average: float = 0.999
    parts: int = 1
    weight_decay: float = 0.01


def learning_rate(plan: Plan, step: int) -> float:
    """The learning rate of the step that begins after `step` steps."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def generator(seed: int, what: str, step: int) -> torch.Generator:
    """The random generator of one step: the same for a training that was stopped and one that was not."""
    return torch.Generator().manual_seed(hash_numbers(seed, what, step))


def hash_numbers(seed: int, what: str, step: int) -> int:
    """A 63 bit number from (seed, what, step) that does not depend on the process."""
    value = 1469598103934665603
    for byte in f"{seed}/{what}/{step}".encode():
        value = (value ^ byte) * 1099511628211 % 2**63
    return value


ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Training(Generic[ModuleT]):
    """A module in training with its optimizer, the average of its weights and its step, kept in one file."""

    def __init__(self, module: ModuleT, plan: Plan, path: Path) -> None:
        self.module = module
        self.plan = plan
        self.path = path
        self.step = 0
        self.seconds = 0.0
        self.averaged = copy.deepcopy(module).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay, fused=True
        )
        if path.is_file():
            self._load(torch.load(path, map_location="cpu", weights_only=True))

    @property
    def done(self) -> bool:
        """Whether all planned steps are made."""
        return self.step >= self.plan.steps

    def run(self, loss: Callable[[int, int], Tensor]) -> None:
        """Learn until the plan's steps or minutes are over; `loss` gives the scalar loss of (step, part)."""
        before, start = self.seconds, time.monotonic()
        saved = start
        total, counted = 0.0, 0
        with ThreadPoolExecutor(self.plan.parts) as threads:
            while not self.done and time.monotonic() - start < 60 * self.plan.minutes:
                total += self._learn(loss, threads)
                counted += 1
                self.seconds = before + time.monotonic() - start
                if self.step % SAY_EVERY_STEPS == 0 or self.done:
                    self._say(total / counted)
                    total, counted = 0.0, 0
                if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint whole: under another name, then renamed."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def _say(self, loss: float) -> None:
        print(f"step {self.step}/{self.plan.steps} loss {loss:.4f} {self.seconds:.0f} s", flush=True)

    def _load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _learn(self, loss: Callable[[int, int], Tensor], threads: ThreadPoolExecutor) -> float:
        """One step; returns its loss."""
        parameters = list(self.module.parameters())

        def part(index: int) -> tuple[float, tuple[Tensor | None, ...]]:
            value = loss(self.step, index) / self.plan.parts
            return value.item(), torch.autograd.grad(value, parameters, allow_unused=True)

        values, gradients = zip(*threads.map(part, range(self.plan.parts)), strict=True)
        for parameter, *pieces in zip(parameters, *gradients, strict=True):
            known = [piece for piece in pieces if piece is not None]
            parameter.grad = sum(known[1:], known[0]) if known else None
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.plan, self.step)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return float(sum(values))

    def _average(self) -> None:
        """Follow the weights; early on faster, so that the random start is soon forgotten."""
        keep = min(self.plan.average, (1 + self.step) / (10 + self.step))
        pairs = zip(self.averaged.parameters(), self.module.parameters(), strict=True)
        olds, news = zip(*[(old, new.detach()) for old, new in pairs], strict=True)
        torch._foreach_lerp_(list(olds), list(news), 1 - keep)
