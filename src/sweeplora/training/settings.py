"""The settings of a training: target of conf/train; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from sweeplora.errors import UserError


@dataclass(frozen=True)
class Train:
    """Length, batch, precision, and when to save, validate and write the state.

    epochs or steps (optimizer steps) set the length. batch_size counts images of one bucket over all
    processes, accumulation counts batches per step. max_grad_norm 0 never clips; max_weight_norm 0 never scales.
    Timesteps are drawn from [min_timestep, max_timestep). save_every_epochs and validate_every_epochs: 0 means only
    at the end (and for validation at the start); the options in optimizer steps add to them. save_last_epochs and
    save_last_steps delete older weights of this run, never the last. checkpoint_minutes and checkpoint_every_steps (0:
    off) write the state that a training goes on from; keep_state keeps the last one when the run has ended. resume:
    another run's state to start from; the length includes its steps.
    patience counts validations without a better val/loss before a training stops, checked after each epoch; its weights
    are then those of the best validation (0: off).
    validation_timesteps noise levels are scored for every held-out image (at most validation_images of them), in
    float32 or, with validation_precision=run, in mixed_precision; and for probe_images training images, at the start,
    at the end and every probe_every_epochs.
    """

    epochs: Annotated[int, Ge(1), Le(1_000_000)] | None
    steps: Annotated[int, Ge(1), Le(1_000_000_000)] | None
    batch_size: Annotated[int, Ge(1), Le(100_000)]
    accumulation: Annotated[int, Ge(1), Le(100_000)]
    max_grad_norm: Annotated[float, Ge(0)]
    mixed_precision: Literal["no", "fp16", "bf16"]
    network_precision: Literal["fp32", "fp16", "bf16"]
    save_precision: Literal["fp32", "fp16", "bf16"]
    gradient_checkpointing: bool
    compile: Literal["inductor", "cudagraphs", "aot_eager", "eager"] | None
    lowram: bool
    min_timestep: Annotated[int, Ge(0)]
    max_timestep: Annotated[int, Ge(1)]
    max_weight_norm: Annotated[float, Ge(0)]
    save_every_epochs: Annotated[int, Ge(0)]
    save_every_steps: Annotated[int, Ge(0)]
    save_last_epochs: Annotated[int, Ge(0)]
    save_last_steps: Annotated[int, Ge(0)]
    save_as: Literal["safetensors", "ckpt"]
    checkpoint_minutes: Annotated[float, Ge(0)]
    checkpoint_every_steps: Annotated[int, Ge(0)]
    keep_state: bool
    resume: str | None
    patience: Annotated[int, Ge(0)]
    validate_every_epochs: Annotated[int, Ge(0)]
    validate_every_steps: Annotated[int, Ge(0)]
    validation_images: Annotated[int, Ge(1)] | None
    validation_timesteps: Annotated[int, Ge(1), Le(1000)]
    validation_precision: Literal["run", "fp32"]
    probe_images: Annotated[int, Ge(0)]
    probe_every_epochs: Annotated[int, Ge(0)]

    @property
    def forward_precision(self) -> Literal["fp32", "fp16", "bf16"]:
        """The precision of training steps and previews."""
        return "fp32" if self.mixed_precision == "no" else self.mixed_precision

    @property
    def measured_precision(self) -> Literal["fp32", "fp16", "bf16"]:
        """The precision that validation losses are computed in."""
        return "fp32" if self.validation_precision == "fp32" else self.forward_precision

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise UserError("train.epochs", self.epochs, f"with train.steps={self.steps}; give one, the other null")
        if self.min_timestep >= self.max_timestep:
            raise UserError(
                "train.min_timestep",
                self.min_timestep,
                f"must be below train.max_timestep={self.max_timestep}",
            )
        if self.network_precision not in ("fp32", self.mixed_precision):
            mend = f"needs train.mixed_precision={self.network_precision}; or keep the network in fp32"
            raise UserError("train.network_precision", self.network_precision, mend)
        if self.probe_every_epochs and not self.probe_images:
            mend = "has no effect with train.probe_images=0; use 0"
            raise UserError("train.probe_every_epochs", self.probe_every_epochs, mend)
        for last, every in (("save_last_epochs", "save_every_epochs"), ("save_last_steps", "save_every_steps")):
            if getattr(self, last) and not getattr(self, every):
                raise UserError(f"train.{last}", getattr(self, last), f"has no effect without train.{every}; give both")
