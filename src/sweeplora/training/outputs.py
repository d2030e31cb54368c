"""The files of a training: metrics, preview images and weights."""

from __future__ import annotations

import functools
import math
import resource
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sweeplora.content import ContentHashes, sha256
from sweeplora.networks.file.write import NotFinite, save
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter, has_logged, read_metrics
from sweeplora.rundir.naming import read_naming
from sweeplora.rundir.scores import ScoresWriter
from sweeplora.training.distributed import DTYPES
from sweeplora.training.evaluate import Score, TripleSet
from sweeplora.training.evaluator import Evaluator
from sweeplora.training.groups import ConfigGroups
from sweeplora.training.loop import Diverged, Trainer
from sweeplora.training.metadata import Trained, metadata, model_hashes
from sweeplora.training.patience import Patience, best_before, best_weights
from sweeplora.training.prepare import Inputs
from sweeplora.training.previews.settings import is_due
from sweeplora.training.retention import Retention, SavedWeights, remove_unfinished
from sweeplora.training.system import SystemMetrics

_MEASURED = ("images_per_second", "memory_mib")
"""Metrics that are never twice the same: what was logged first stands."""


class Outputs:
    """Writes a run's files. Every process calls the same methods; metrics and weights are written by rank 0."""

    def __init__(self, run: RunDir, groups: ConfigGroups, trainer: Trainer, inputs: Inputs) -> None:
        self._run = run
        self._config = groups.config
        self._trainer = trainer
        self._inputs = inputs
        self._evaluator = Evaluator(groups, trainer, inputs)
        self._scored_at = self._probed_at = self._drawn_at = -1
        self._main = trainer.processes.is_main
        self._earlier = read_metrics(run.metrics) if self._main else {}
        self._writer = MetricsWriter(run.metrics) if self._main else None
        self._system = SystemMetrics(run.system, trainer.processes.device) if self._main else None
        self._baseline: float | None = None
        self.patience = Patience(groups.train.patience)
        self._best = best_weights(run.checkpoints, groups.train.save_as)
        self.best_sha256 = ""
        self.last: dict[str, float] = {}
        settings = groups.train
        retention = Retention(settings.save_last_epochs, settings.save_last_steps)
        if self._main:
            remove_unfinished(run.weights)
        self._naming = read_naming(run, groups.config["name"])
        self._saved = SavedWeights(run.weights, self._naming.stem, f".{settings.save_as}", retention)

    @functools.cached_property
    def _trained(self) -> Trained:
        """The training as the weights files' metadata describes it."""
        trainer, inputs = self._trainer, self._inputs
        hashes = ContentHashes(Path(self._config["runs"]) / "cache" / "hashes.json")
        return Trained(
            config=self._config,
            family=trainer.family,
            naming=self._naming,
            length=inputs.length,
            pictures=inputs.dataset.train,
            processes=trainer.processes.world_size,
            hashes=model_hashes(trainer.family, hashes),
        )

    @functools.cached_property
    def _scores(self) -> ScoresWriter | None:
        """Writes the held-out triples' losses; only in the main process."""
        if not self._main:
            return None
        step_settings = self._trainer.step_settings
        names = self._inputs.validation.names(step_settings.noising, step_settings.train.measured_precision)
        return ScoresWriter(self._run.scores, names)

    def state(self) -> dict[str, Any]:
        """What was scored, drawn, saved and deleted so far; see `load`."""
        return {
            "baseline": self._baseline,
            "last": self.last,
            "scored_at": self._scored_at,
            "drawn_at": self._drawn_at,
            "saved": self._saved.state(),
            "patience": self.patience.state(),
            "best_sha256": self.best_sha256,
            "written": self._written_bytes(),
        }

    def load(self, state: Mapping[str, Any], others: Path | None) -> None:
        """Go on from what `state` returned; `others`: the file that it is from, if that is another run's.

        The files of another run are not this run's; the base model's losses are in them, so they are asked for again.
        Its best weights are copied, and are the result until a validation is better.
        """
        self.last = dict(state["last"])
        self._scored_at, self._drawn_at = state["scored_at"], state["drawn_at"]
        if others is not None:
            self._carry_best_on(state, others)
            return
        self._baseline = state["baseline"]
        self._saved.load(state["saved"])
        self.patience.load(state["patience"])
        self.best_sha256 = state["best_sha256"]

    def _carry_best_on(self, state: Mapping[str, Any], file: Path) -> None:
        kept = best_before(file, self._best.suffix[1:], state["best_sha256"])
        if kept is None or not self.patience.most:
            return
        self.patience.carry_on(state["patience"])
        self.best_sha256 = state["best_sha256"]
        if self._main:
            self._best.parent.mkdir(exist_ok=True)
            write_whole(self._best, kept.read_bytes())
            told = f"val/loss {self.patience.best:.5f} of step {self.patience.step} is the best so far"
            print(f"{told}, {self.patience.waited} validations ago", flush=True)

    def _written_bytes(self) -> dict[str, int]:
        """Sizes of the files that grow, by name, once what is in them has reached the disk."""
        written = {} if self._writer is None else {self._run.metrics.name: self._writer.sync()}
        if self._scored_at >= 0 and self._inputs.validation.examples and self._scores is not None:
            written[self._run.scores.name] = self._scores.sync()
        return written

    def log(self, values: Mapping[str, float]) -> None:
        """Log values at the trainer's step, unless an earlier attempt did.

        Raises Diverged for one that is not finite.
        """
        self._refuse_infinite(values)
        self.last |= values
        step = self._trainer.step
        if self._writer is not None and not has_logged(self._earlier, step, values, _MEASURED):
            self._writer.write(step, values)

    def _refuse_infinite(self, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            if not math.isfinite(value):
                before = "" if self._trainer.step else ", before any update: look at the model and the images"
                raise Diverged(f"{key} of step {self._trainer.step} is not finite{before}")

    @property
    def is_over(self) -> bool:
        """Whether the training ends at the trainer's step: it is the last one, or patience ran out in its epoch."""
        step, length = self._trainer.step, self._inputs.length
        return step == length.steps or (self.patience.exhausted and step % length.steps_per_epoch == 0)

    def epoch_done(self, epoch: int, epochs: int, between: Callable[[], None]) -> None:
        """Validate, save and draw previews if due after `epoch` of `epochs`; 0 is before the first step.

        `between` is called between them, and after the last where the training goes on.

        Validation runs first, so that diverged weights are never saved; it is also due where patience has run out since
        the epoch before, and decides whether the training ends. Raises Diverged.
        """
        settings, last = self._trainer.step_settings.train, epoch == epochs
        self._trainer.check_weights()
        if last or epoch == 0 or self.patience.exhausted or is_due(epoch, settings.validate_every_epochs):
            self._validate()
        if last or epoch == 0 or is_due(epoch, settings.probe_every_epochs):
            self._probe()
        between()
        write = partial(self._write_weights, epoch)
        if last:
            self._saved.last(write if self._weights_step == self._trainer.step else self._copy_best)
        elif epoch > 0 and is_due(epoch, settings.save_every_epochs):
            self._saved.epoch(epoch, write)
        between()
        if self._evaluator.previews.settings.due(epoch, epochs):
            self._preview()
        if last:
            self._show_weights()
        else:
            between()
        if self._main:
            told = {key: self.last[key] for key in ("loss", "val/loss", "probe/loss") if key in self.last}
            numbers = ", ".join(f"{key} {value:.5f}" for key, value in told.items())
            print(f"epoch {epoch}/{epochs}, step {self._trainer.step}: {numbers}", flush=True)

    def step_done(self, epoch: int, between: Callable[[], None]) -> None:
        """Validate, save and draw previews if due at the trainer's step, in `epoch`; `between` is called between them.

        Raises Diverged.
        """
        step, settings = self._trainer.step, self._trainer.step_settings.train
        if self._system is not None:
            self._system.sample(step)
        if is_due(step, settings.validate_every_steps):
            self._trainer.check_weights()
            self._validate()
            between()
        if is_due(step, settings.save_every_steps):
            self._trainer.check_weights()
            self._saved.step(step, partial(self._write_weights, epoch))
            between()
        if is_due(step, self._evaluator.previews.settings.every_steps):
            self._preview()

    def _validate(self) -> None:
        """Score the held-out triples in evaluation mode, and log the results.

        Where the training ends and an earlier validation was better, those are its results: they belong to the weights.
        Every step is logged once, so that an attempt that goes on from an earlier state logs the same.
        """
        step = self._trainer.step
        if self._scored_at == step or not self._inputs.validation.examples:
            return
        found = self._score(self._inputs.validation)
        base = self._base_loss()
        self._refuse_infinite({"val/loss": found.mean})
        is_best = self.patience.takes(step, found.mean, tuple(found.flat()))
        if self.is_over and self._weights_step != step:
            found = self._best_instead_of(found)
        if self._scores is not None:
            # Before the metrics, so that whoever sees val/loss of a step finds its scores.
            self._scores.write(step, found.flat())
        self.log(self._validation(found, base))
        self._scored_at = step
        if is_best:
            self._write_weights(math.ceil(step / self._inputs.length.steps_per_epoch), self._best)
            self.best_sha256 = sha256(self._best) if self._main else ""

    def _best_instead_of(self, found: Score) -> Score:
        """The score of the best validation, in place of the last one."""
        if self._main:
            step, best = self._trainer.step, self.patience
            told = f"val/loss {found.mean:.5f}; the result is the best, {best.best:.5f} of step {best.step}"
            print(f"step {step}: {told}", flush=True)
        losses = torch.tensor(self.patience.losses, dtype=found.losses.dtype)
        return replace(found, losses=losses.view_as(found.losses))

    def _probe(self) -> None:
        """Score the probe's triples, and log their mean."""
        if self._probed_at == self._trainer.step or not self._inputs.probe.examples:
            return
        self.log({"probe/loss": self._score(self._inputs.probe).mean})
        self._probed_at = self._trainer.step

    def _score(self, triples: TripleSet) -> Score:
        found = self._evaluator.score(triples)
        self._trainer.stop_if_asked()
        return found

    def _preview(self) -> None:
        """Draw the prompts with the network as it is now."""
        if self._drawn_at == self._trainer.step:
            return
        self._evaluator.draw(self._run.samples)
        self._trainer.stop_if_asked()
        self._drawn_at = self._trainer.step

    @property
    def _weights_step(self) -> int:
        """The step that the last weights are of: the trainer's, or that of the best validation with patience."""
        return self.patience.step or self._trainer.step

    def _show_weights(self) -> None:
        """Copy a preview next to the last weights, under their name, where LoRA managers look for it.

        It is the newest one; for the weights of an earlier step one that was drawn with them, or none.
        """
        is_earlier = self._weights_step != self._trainer.step
        drawn = f"{self._weights_step:08d}_*.png" if is_earlier else "*_*.png"
        newest = max(self._run.samples.glob(drawn), default=None, key=_step_and_first)
        if self._main and newest is not None and self._saved.newest is not None:
            shutil.copyfile(newest, self._saved.newest.with_suffix(newest.suffix))

    @property
    def weights(self) -> str | None:
        """The newest weights file, relative to the run folder."""
        newest = self._saved.newest
        return None if newest is None else f"{self._run.weights.name}/{newest.name}"

    def _copy_best(self, path: Path) -> None:
        """Make the weights of the best validation the result."""
        if self._main:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, self._best.read_bytes())

    def _write_weights(self, epoch: int, path: Path) -> None:
        """Write the evaluation weights; raises Diverged, in every process, if they would not be finite in the file."""
        trainer = self._trainer
        fault = self._save(epoch, path) if self._main else None
        if trainer.processes.any(fault is not None):
            raise Diverged(f"the weights after step {trainer.step} cannot be saved: {fault}")

    def _save(self, epoch: int, path: Path) -> NotFinite | None:
        path.parent.mkdir(exist_ok=True)
        trainer = self._trainer
        described = metadata(self._trained, epoch, trainer.step)
        with self._evaluator.in_use():
            state = trainer.network.state_dict()
            try:
                save(path, state, described, DTYPES[trainer.step_settings.train.save_precision])
            except NotFinite as fault:
                return fault
        return None

    def _base_loss(self) -> float:
        """The base model's mean loss, of which the scores are written; computed once."""
        if self._baseline is None:
            base = self._evaluator.base_score(self._inputs.validation)
            self._trainer.stop_if_asked()
            self._baseline = base.mean
            if self._scores is not None and math.isfinite(base.mean):
                self._scores.write_base(base.flat())
        return self._baseline

    def _validation(self, found: Score, base: float) -> dict[str, float]:
        best = min(found.mean, self.last.get("val/best", found.mean))
        bands = {f"val/band_{number}": value for number, value in found.bands().items()}
        return {"val/loss": found.mean, "val/best": best, "val/relative": found.mean / base, **bands}


def _step_and_first(sample: Path) -> tuple[str, int]:
    """Sort key of previews: by step, and within a step with the first prompt last."""
    step, _, number = sample.stem.partition("_")
    return step, -int(number)


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory in MiB: allocated on the GPU, or the resident set of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
