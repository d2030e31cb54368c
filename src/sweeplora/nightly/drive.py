"""The trainings of a night through a study's driver: canaries first, then the rest, then what the machine ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeplora.experiment import Configuration
from sweeplora.launch.launcher import Launcher
from sweeplora.nightly.baseline import Baseline
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.plan import NightPlan, Training
from sweeplora.nightly.quality import OBJECTIVE
from sweeplora.nightly.settings import Nightly
from sweeplora.nightly.surroundings import Surroundings, surroundings_of
from sweeplora.nightly.trials import NightTrials, is_over, open_again, records_of
from sweeplora.rundir.record import StudyRecord, write_study
from sweeplora.sweep.driver import Driver
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.jobs import StudyContext
from sweeplora.sweep.preloading import Trains, launcher_of
from sweeplora.sweep.question import Composer, Question
from sweeplora.sweep.screen import Screen
from sweeplora.sweep.search.space import Space
from sweeplora.sweep.supervise import shape_of

_TRIES = 2
"""Of a training that the machine ended, each with all the attempts of its supervisor."""


@dataclass(frozen=True)
class Asked:
    """What a night works with, checked."""

    settings: Nightly
    configuration: Configuration
    composer: Composer
    plan: NightPlan
    baselines: tuple[Baseline, ...]
    trains: Trains

    @property
    def runs(self) -> Path:
        """The folder of all that running makes."""
        return Path(self.configuration.config["runs"]).absolute()


class NightDriver:
    """Trains what it is given, as far as it was not trained before, and has each canary judged before its rest begins.

    `planned`: all that it was given so far. `stopped`: configurations whose canary REGRESSED, where that ends them.
    `surroundings`: what each configuration was trained on. `judge(configuration)` is called when its canary has ended.
    """

    def __init__(
        self,
        asked: Asked,
        folder: NightFolder,
        record: StudyRecord,
        user: tuple[Screen, Interrupt],
        judge: Callable[[str], Criterion],
    ) -> None:
        self._asked, self._folder, self._record = asked, folder, record
        self._screen, self._interrupt = user
        self._judge = judge
        self._launchers: dict[str, Launcher] = {}
        self._usual = json.dumps(asked.configuration.config["launcher"])
        self._judged: set[str] = set()
        self._driving: tuple[Driver, NightTrials] | None = None
        self.planned: list[Training] = []
        self.stopped: set[str] = set()
        self.surroundings: dict[str, Surroundings] = {}
        self.watch: Callable[[], None] = lambda: None

    def is_over(self) -> bool:
        """Whether every training that was planned has ended, whatever its end."""
        records = records_of(self._folder.path)
        open_ = [one for one in self.planned if one.configuration not in self.stopped]
        return not self._interrupt.requested and all(is_over(records, one.number) for one in open_)

    def close(self) -> None:
        """End what still runs."""
        for launcher in self._launchers.values():
            launcher.close(kill=self._interrupt.now)
        if self._driving is not None:
            self._driving[0].abandon()

    def train(self, trainings: Sequence[Training]) -> None:
        """Train these, in parts of one launcher; what the machine ended is tried again."""
        self.planned += [one for one in trainings if one not in self.planned]
        self._judge_earlier_canaries()
        for key, some in self._by_launcher(trainings).items():
            for attempt in range(_TRIES):
                todo = some if attempt == 0 else open_again(self._folder.path, some)
                if todo and not self._interrupt.requested:
                    if attempt:
                        self._screen.say(f"{len(todo)} trainings that the machine ended are tried again")
                    self._drive(todo, key)

    def _by_launcher(self, trainings: Sequence[Training]) -> dict[str, list[Training]]:
        """The trainings by the launcher that their configuration asks for; the command's own comes first."""
        found: dict[str, list[Training]] = {}
        by_name = {one.name: one for one in self._asked.plan.configured}
        for training in trainings:
            config = by_name[training.configuration].experiment.config
            key = json.dumps(config["launcher"])
            found.setdefault(key, []).append(training)
            if key not in self._launchers:
                made = self._asked.trains.launcher if key == self._usual else None
                self._launchers[key] = made or launcher_of(config)
        return dict(sorted(found.items(), key=lambda item: item[0] != self._usual))

    def _drive(self, trainings: Sequence[Training], key: str) -> None:
        """Put the trainings through the driver of a study, in this order."""
        launcher, is_usual = self._launchers[key], key == self._usual
        plan = launcher.plan(len(trainings), shape_of(self._record) if is_usual else None)
        if is_usual and self._record.threads is None:
            self._record.processes, self._record.threads = plan.slots[0].shape
            write_study(self._folder.path, self._record)
        names = {one.configuration for one in trainings}
        for one in self._asked.plan.configured:
            if one.name in names:
                self.surroundings[one.name] = surroundings_of(plan.slots[0], one.experiment.code)
        trials = NightTrials(self._folder.path, trainings, self._training_ended, self._is_held)
        question = self._question(len(trainings))
        context = StudyContext(
            question, self._asked.composer, trials, launcher, self._asked.trains.module, self._asked.runs
        )
        driver = Driver(context, plan.slots, self._screen, self._interrupt)
        self._driving = (driver, trials)
        for name in self.stopped:
            driver.display.total -= trials.drop(name)
        driver.run(self.watch)

    def _question(self, count: int) -> Question:
        """A study that asks for nothing but these trainings."""
        name = self._folder.path.name
        return Question(name, Space(), (OBJECTIVE,), count, self._asked.configuration, identity={})

    def _is_held(self, training: Training) -> bool:
        """Whether the canary of its configuration is still to be judged: the rest is spent after it."""
        return training.seed != self._asked.plan.first_seed and training.configuration not in self._judged

    def _judge_earlier_canaries(self) -> None:
        """Judge the canaries that an earlier command of this night trained."""
        records = records_of(self._folder.path)
        for training in self.planned:
            if training.configuration not in self._judged and is_over(records, training.number):
                self._training_ended(training)

    def _training_ended(self, training: Training) -> None:
        """Judge the canary as soon as its training has ended."""
        name = training.configuration
        if training.again or training.seed != self._asked.plan.first_seed:
            return
        self._judged.add(name)
        canary = self._judge(name)
        if canary.verdict is Verdict.REGRESSED and self._asked.settings.stop_at_canary:
            self.stopped.add(name)
            if self._driving is not None:
                driver, trials = self._driving
                driver.display.total -= trials.drop(name)
            self._screen.say(f"{name} is not trained further (nightly.stop_at_canary)")
