"""A night from the command line to its verdict: configurations x seeds through a study's driver, then the criteria."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Configuration
from sweeplora.nightly import measuring
from sweeplora.nightly.baseline import Baseline, find_baseline, read_baselines
from sweeplora.nightly.blame import blame
from sweeplora.nightly.blocks import Stopped
from sweeplora.nightly.canary import METRIC as CANARY
from sweeplora.nightly.criterion import Criterion, Verdict, exit_code
from sweeplora.nightly.drive import Asked, NightDriver
from sweeplora.nightly.evidence import read_evidence
from sweeplora.nightly.folder import NightFolder, identity_of, open_night
from sweeplora.nightly.judge import Side, canary_of, differences, judge
from sweeplora.nightly.key import key_of
from sweeplora.nightly.measuring import commit_against
from sweeplora.nightly.plan import FEWEST_FOR_A_BASELINE, Configured, LeftOut, plan_night
from sweeplora.nightly.quality import FIRST_SHARE, OBJECTIVE, Rules, undecided
from sweeplora.nightly.report import Link, Report
from sweeplora.nightly.settings import FEWEST_SEEDS, Nightly
from sweeplora.nightly.sides import write_sides
from sweeplora.nightly.surroundings import Surroundings
from sweeplora.nightly.trials import records_of
from sweeplora.nightly.written import append_summary, link_of, wait_for_link, write_baselines, write_report
from sweeplora.record.store.subject import flatten
from sweeplora.report.words import clock, near
from sweeplora.rundir.disk import RESERVE, keep_reserve, remove_leftovers
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.lock import hold
from sweeplora.rundir.record import StudyRecord, read_study, write_study
from sweeplora.rundir.signature import signed_part, teaches_nothing
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.library_logs import logging_to
from sweeplora.sweep.preloading import Trains, preloading
from sweeplora.sweep.question import Check, Compose, Composer
from sweeplora.sweep.recorder import Recorder, finish_recorder, is_recording, revive_recorder, start_recorder
from sweeplora.sweep.screen import Screen, open_screen
from sweeplora.sweep.search.grammar import split_command_line
from sweeplora.sweep.search.searchers import prunes
from sweeplora.sweep.search.space import Space
from sweeplora.sweep.supervise import now

RECORD = "record"
WHOLE_NIGHT = "night"
_TRIES = 2
"""Of a training that the machine ended, each with all the attempts of its supervisor."""


def run_night(
    words: Sequence[str], configuration: Configuration, settings: Nightly, ways: tuple[Compose, Check, str]
) -> int:
    """Train and judge a night, or go on with today's unfinished one; returns 0, 1 (regressed) or 2 (it cannot be said).

    `ways`: compose, check, and the module that trains. Raises UserError for bad input, before anything is trained.
    """
    compose, check, module = ways
    plain, swept = split_command_line(words)
    _refuse(configuration.config, swept)
    if settings.bisect is not None:
        composer = Composer(plain, compose, check)
        plan = plan_night(settings, composer, configuration.config["seed"])
        return blame(settings, plan, composer.base, Path(configuration.config["runs"]).absolute())
    commit_against(settings.against)
    with preloading(configuration.config, True, module) as launcher:
        composer = Composer(plain, compose, check)
        plan = plan_night(settings, composer, configuration.config["seed"])
        baselines = tuple(read_baselines(Path(settings.baseline)))
        asked = Asked(settings, configuration, composer, plan, baselines, Trains(module, launcher))
        identity = identity_of(plan, configuration.config["nightly"])
        folder, goes_on = open_night(asked.runs, configuration.config["sweep"]["name"], identity)
        with _only_driver(folder), Interrupt() as interrupt, logging_to(folder.path / "driver.log"):
            return _Night(asked, folder, interrupt).run(goes_on)


def _refuse(config: Mapping[str, Any], swept: Space) -> None:
    """Raise UserError for settings that have no place in a night."""
    problems, sweep = Problems(), config["sweep"]
    if swept or sweep["space"]:
        problems.add(UserError("sweep.space", "searched", "a night trains fixed configurations; leave it out"))
    if config["reuse"]:
        problems.add(
            UserError("reuse", True, "a night trains everything anew, or it would judge an earlier one's code")
        )
    if prunes(config["pruner"]):
        problems.add(UserError("pruner", "on", "a night compares trainings of one length; give pruner=none"))
    if sweep["replicates"] != 1 or sweep["confirm"]["top"]:
        problems.add(
            UserError("sweep.replicates", sweep["replicates"], "a night has its own seeds; give nightly.seeds")
        )
    if config["train"]["resume"]:
        problems.add(
            UserError("train.resume", config["train"]["resume"], "a night trains from the start; leave it out")
        )
    problems.refuse()


class _Night:
    """The lifetime of one command that trains a night."""

    def __init__(self, asked: Asked, folder: NightFolder, interrupt: Interrupt) -> None:
        self._asked, self._folder, self._interrupt = asked, folder, interrupt
        self._began = time.monotonic()
        self._screen: Screen = open_screen()
        self._recorder: Recorder | None = None
        self._record = self._described()
        self._canaries: dict[str, Criterion] = {}
        self._notes: tuple[str, ...] = ()
        self._driver = NightDriver(asked, folder, self._record, (self._screen, interrupt), self._judge_canary)

    def run(self, goes_on: bool) -> int:
        """Train, judge, report."""
        path = self._folder.path
        remove_leftovers(path)
        keep_reserve(path)
        self._write_begun()
        config = self._asked.configuration.config
        arguments = ["--runs", str(self._asked.runs), "--study", path.name, "--config", str(path / "config.yaml")]
        self._recorder = start_recorder(config, arguments, path / "mirror.log")
        self._driver.watch = lambda: revive_recorder(self._recorder)
        finished = False
        try:
            self._say_what_is_asked(goes_on)
            criteria = self._train_and_judge()
            criteria += self._judge_speed()
            finished = self._driver.is_over()
        finally:
            self._close(finished)
        wait_for_link(self._folder.path, lambda: is_recording(self._recorder) and not self._interrupt.requested)
        report = self._report(criteria, finished)
        write_report(self._folder, report)
        recorded = finish_recorder(self._recorder, self._screen, self._interrupt).kept
        if not recorded:
            report = self._unrecorded(report)
            write_report(self._folder, report)
        self._tell(report)
        return exit_code(report.verdict)

    def _train_and_judge(self) -> list[Criterion]:
        """Every training with the planned seeds, then more of them where it takes more to decide."""
        settings, plan = self._asked.settings, self._asked.plan
        again = plan.again() if settings.seeds >= FEWEST_FOR_A_BASELINE else []
        rest = [*again, *plan.trainings(range(1, settings.seeds))]
        # A worker keeps its base from one training of a configuration to the next.
        order = {one.name: place for place, one in enumerate(plan.configured)}
        by_configuration = sorted(rest, key=lambda one: order[one.configuration])
        self._driver.train([*plan.trainings([0]), *by_configuration])
        more = settings.most_seeds > settings.seeds
        criteria = self._judge(FIRST_SHARE if more else 1.0)
        names = list(undecided(criteria))
        if more and names and not self._interrupt.requested:
            for name in names:
                self._screen.say(f"{name} is undecided: {settings.most_seeds - settings.seeds} more seeds")
            places = range(settings.seeds, settings.most_seeds)
            self._driver.train([plan.training(name, place) for name in names for place in places])
            second = self._judge(1.0 - FIRST_SHARE)
            decided = {name: [one for one in second if one.configuration == name] for name in names}
            kept = [one for one in criteria if one.configuration not in decided]
            criteria = [*kept, *(one for name in names for one in decided[name])]
        return criteria

    def _judge_speed(self) -> list[Criterion]:
        """Step time and memory: at last, when nothing else of this night runs."""
        settings, composer = self._asked.settings, self._asked.composer
        if settings.speed is None or self._interrupt.requested:
            return []
        against = commit_against(settings.against)
        chosen = [one for one in self._asked.plan.configured if one.name not in self._driver.stopped]
        words = {one.name: one.words for one in chosen}
        base, path, runs = composer.base, self._folder.path, self._asked.runs
        many = settings.seeds >= FEWEST_FOR_A_BASELINE
        asked = measuring.Asked(base, words, settings.speed, against, many, path, runs)
        sides = [self._side(one) for one in chosen]
        baselines = {side.name: side.baseline.speed for side in sides if side.baseline is not None}
        try:
            criteria, self._notes = measuring.judge_night(asked, baselines, self._screen.say, self._end_if_asked)
        except Stopped:
            return []
        return criteria

    def _end_if_asked(self) -> None:
        if self._interrupt.requested:
            raise Stopped

    def _judge_canary(self, name: str) -> Criterion:
        """Judge a configuration's canary, and say how it came out."""
        side = self._side(self._configured(name))
        if side.baseline is None:
            canary = Criterion(name, CANARY, Verdict.NO_BASELINE, side.missing)
        else:
            canary = canary_of(side)
        self._canaries[name] = canary
        self._screen.say(f"canary: {canary.line}")
        return canary

    def _configured(self, name: str) -> Configured:
        return next(one for one in self._asked.plan.configured if one.name == name)

    def _side(self, one: Configured) -> Side:
        """What is known of one configuration so far."""
        experiment, plan = one.experiment, self._asked.plan
        trainings = [training for training in self._driver.planned if training.configuration == one.name]
        if one.name in self._driver.stopped:
            trainings = [training for training in trainings if training.seed == plan.first_seed]
        evidence = read_evidence(trainings, records_of(self._folder.path), plan.first_seed)
        surroundings = self._driver.surroundings.get(one.name, Surroundings(""))
        words = (*self._asked.composer.base, *one.words)
        key = key_of(one.name, words, experiment.contents, surroundings.device)
        baseline, missing = find_baseline(self._asked.baselines, key)
        signed = signed_part(experiment.config)
        unsaid = {*experiment.contents, "seed"}
        settings = {name: text for name, text in flatten(signed) if name not in unsaid and not teaches_nothing(name)}
        return Side(key, surroundings, settings, evidence, baseline, missing)

    def _judge(self, share: float) -> list[Criterion]:
        """Every criterion; a configuration that its canary stopped is judged by that alone."""
        metrics = (OBJECTIVE, *self._asked.settings.secondary)
        sides = [self._side(one) for one in self._asked.plan.configured]
        judged = judge(
            [side for side in sides if side.name not in self._driver.stopped], Rules(metrics, FEWEST_SEEDS, share)
        )
        stopped = [self._canaries[side.name] for side in sides if side.name in self._driver.stopped]
        return [*judged, *stopped]

    def _report(self, criteria: Sequence[Criterion], finished: bool) -> Report:
        plan, path = self._asked.plan, self._folder.path
        sides = [self._side(one) for one in plan.configured]
        write_sides(self._folder, sides, self._driver.planned, plan.first_seed)
        write_baselines(self._folder, [side.baseline for side in sides if side.baseline is not None])
        commit = next((side.surroundings.commit for side in sides if side.surroundings.commit), "")
        if not finished:
            cut_off = "the night was cut off; the same command goes on with it"
            criteria = [*criteria, Criterion(WHOLE_NIGHT, "finished", Verdict.INFRA, cut_off)]
        return Report(
            night=Link(path.name, commit, link_of(path)),
            started=self._record.started,
            ended=now(),
            seconds=round(time.monotonic() - self._began, 3),
            finished=finished,
            criteria=tuple(criteria),
            left_out={one.name: one.reason for one in plan.left_out},
            differences={side.name: told for side in sides if (told := differences(side))},
            baselines={side.name: _other_side(side.baseline) for side in sides if side.baseline is not None},
            seeds={side.name: len(side.evidence.seeds) for side in sides},
            notes=(*self._notes, *_not_trained_further(self._driver.stopped)),
        )

    def _unrecorded(self, report: Report) -> Report:
        """The report of a night whose record did not come about: a server is not the code."""
        told = f"the record is not complete: see {near(self._folder.path / 'mirror.log')}"
        return replace(report, criteria=(*report.criteria, Criterion(WHOLE_NIGHT, RECORD, Verdict.INFRA, told)))

    def _described(self) -> StudyRecord:
        before = read_study(self._folder.path)
        plan = self._asked.plan
        return StudyRecord(
            study=self._folder.path.name,
            objective=OBJECTIVE,
            started=before.started if before is not None else now(),
            space={"configuration": [one.name for one in plan.configured]},
            trials=len(plan.configured) * self._asked.settings.seeds,
            processes=before.processes if before is not None else None,
            threads=before.threads if before is not None else None,
            overrides=self._asked.composer.base,
            driver_pid=os.getpid(),
            command=tuple(sys.argv),
        )

    def _write_begun(self) -> None:
        """From now on the folder says of itself that it is a night, and that it is not finished."""
        write_whole(self._folder.path / "config.yaml", self._asked.configuration.yaml)
        write_study(self._folder.path, self._record)
        write_report(self._folder, self._report([], finished=False))

    def _close(self, finished: bool) -> None:
        """End everything that was started but the record."""
        self._screen.close()
        self._driver.close()
        self._record.state = "finished" if finished else "interrupted"
        self._record.ended = now()
        write_study(self._folder.path, self._record)
        (self._folder.path / RESERVE).unlink(missing_ok=True)

    def _say_what_is_asked(self, goes_on: bool) -> None:
        plan, settings = self._asked.plan, self._asked.settings
        begun = "goes on" if goes_on else "begins"
        told = f"{near(self._folder.path)} {begun}: {len(plan.configured)} configurations with {settings.seeds} seeds"
        self._screen.say(told)
        for left in plan.left_out:
            self._screen.say(_left_out(left))
        for notice in dict.fromkeys(line for one in plan.configured for line in one.experiment.notices):
            self._screen.event(notice)

    def _tell(self, report: Report) -> None:
        from sweeplora.nightly.markdown import markdown

        for line in ("", *(one.line for one in report.criteria), "", *markdown(report).splitlines()):
            self._screen.say(line)
        append_summary(report)
        self._screen.say(f"reports: {near(self._folder.reports)} ({clock(report.seconds)})")


def _left_out(left: LeftOut) -> str:
    return f"{left.name} is left out: {left.reason}"


def _not_trained_further(names: Collection[str]) -> Iterator[str]:
    """A line for configurations whose losses are not judged, because their canary said enough."""
    if names:
        mend = "nightly.stop_at_canary=false trains and judges every seed"
        yield f"nothing but the canary was trained of {', '.join(sorted(names))}: {mend}"


def _other_side(baseline: Baseline) -> Link:
    accepted = baseline.accepted
    return Link(accepted.study, accepted.commit, accepted.run)


def _only_driver(folder: NightFolder) -> Any:
    """Hold the night's driver.lock. Raises UserError if a living command holds it."""
    try:
        return hold(folder.path / "driver.lock")
    except BlockingIOError:
        raise UserError("sweep.name", folder.path.name, "another command is training this night; wait for it") from None
