"""Scores and draws the network in training as it is used later, and the base model that it started from."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from sweeplora.training.base_results import BaseResults, base_identity
from sweeplora.training.evaluate import Score, TripleSet, score
from sweeplora.training.groups import ConfigGroups
from sweeplora.training.loop import Trainer
from sweeplora.training.optim.optimizer import weights_for_use
from sweeplora.training.prepare import Inputs
from sweeplora.training.previews.draw import Previews
from sweeplora.training.previews.prompts import read_prompts


class Evaluator:
    """Every process of a run calls the same methods.

    Before the first step a network is the base model, unless it starts from a file. So step 0 is computed once for all
    runs on this base; see `BaseResults`.
    """

    def __init__(self, groups: ConfigGroups, trainer: Trainer, inputs: Inputs) -> None:
        self._groups = groups
        self._trainer = trainer
        self._dataset = inputs.dataset
        sample = groups.sample
        prompts = read_prompts(sample.prompts, sample.weighted, inputs.dataset) if sample.draws else []
        self.previews = Previews(prompts, sample, inputs.dataset.resolution)

    def score(self, triples: TripleSet) -> Score:
        """The losses of triples with the network as it is now."""
        if self._is_base:
            return self.base_score(triples)
        with self.in_use(), self._merged(self._groups.train.measured_precision):
            return self._score(triples)

    def base_score(self, triples: TripleSet) -> Score:
        """The losses of triples without the network; `model.base_weights` belong to the base."""
        noising, precision = self._trainer.step_settings.noising, self._groups.train.measured_precision

        def make() -> Score:
            with self._base():
                return self._score(triples)

        return self._base_results.score(triples, noising, precision, make)

    def draw(self, folder: Path) -> None:
        """Write the previews of the trainer's step; ends early if the training was asked to stop."""
        trainer = self._trainer
        where = (folder, trainer.step, trainer.family, trainer.processes)
        if self._is_base:
            with self._base():
                self.previews.write(*where, self._base_results.files)
            return
        with self.in_use(), self._merged(self._groups.train.forward_precision):
            self.previews.write(*where)

    def in_use(self) -> ExitStack:
        """Evaluation mode, with the averaged weights if the optimizer keeps an average."""
        stack = ExitStack()
        network = self._trainer.network
        network.train(False)
        stack.callback(network.train, True)
        stack.enter_context(weights_for_use(self._trainer.optimizer))
        return stack

    @property
    def _is_base(self) -> bool:
        return self._trainer.step == 0 and self._groups.algorithm.weights is None

    @functools.cached_property
    def _base_results(self) -> BaseResults:
        trainer, groups = self._trainer, self._groups
        identity = base_identity(groups, trainer.family, self._dataset, trainer.processes)
        return BaseResults(groups.cache, identity, trainer.processes)

    def _score(self, triples: TripleSet) -> Score:
        trainer, precision = self._trainer, self._groups.train.validation_precision
        return score(triples, trainer.family, trainer.step_settings.noising, trainer.processes, precision)

    def _merged(self, precision: str) -> AbstractContextManager[None]:
        """The network merged if forward passes are in float32; in half precision a sum would lose small updates."""
        return self._trainer.network.merged() if precision == "fp32" else nullcontext()

    @contextmanager
    def _base(self) -> Iterator[None]:
        network = self._trainer.network
        network.set_strength(0.0)
        try:
            yield
        finally:
            network.set_strength(1.0)
