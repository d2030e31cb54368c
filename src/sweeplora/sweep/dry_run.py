"""What a command line would do and take, told without starting or writing anything."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.errors import HydraException

from sweeplora.content import keeping_no_memos
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment, Outlook
from sweeplora.launch.dry import Dry
from sweeplora.report.summaries import shown_size
from sweeplora.report.words import near
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.places import runs_with_signature
from sweeplora.rundir.record import read_study
from sweeplora.sweep.alone import experiment_of, refuse_sweep
from sweeplora.sweep.foretold import lines_of, slots_line, time_line
from sweeplora.sweep.paces import pace_of
from sweeplora.sweep.preloading import launcher_of
from sweeplora.sweep.question import CHECKED_AHEAD, Check, Compose, Composer, Question, covering, read_question
from sweeplora.sweep.search.grammar import answers, split_command_line
from sweeplora.sweep.search.rehearsal import rehearse
from sweeplora.sweep.search.searchers import prunes
from sweeplora.sweep.supervise import shape_of

_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/]*@")


class Foresight(NamedTuple):
    """What a dry run asks: the check of a configuration, and what a checked experiment will take."""

    check: Check
    outlook: Callable[[Experiment], Outlook]


def is_dry(config: Mapping[str, Any]) -> bool:
    """Whether a configuration's launcher starts nothing. What is wrong with it is left to the check."""
    try:
        return isinstance(launcher_of(config), Dry)
    except (UserError, HydraException, TypeError, ValueError):
        return False


def foretell(overrides: Sequence[str], compose: Compose, foresight: Foresight) -> list[str]:
    """Lines on what would be trained, how long and where. Raises UserError for whatever `run` would refuse."""
    plain, swept = split_command_line(overrides)
    with keeping_no_memos():
        configuration = compose(plain)
        point = [] if swept else answers(configuration.config["sweep"]["space"], plain)
        if point:
            experiment = experiment_of(point, plain, compose, foresight.check)
            return _of_single(experiment, foresight.outlook(experiment))
        if not (swept or configuration.config["sweep"]["space"]):
            refuse_sweep(configuration.config, plain)
            return foretell_single(configuration, foresight)
        composer = Composer(plain, compose, foresight.check)
        question = read_question(configuration, composer, swept)
        rehearse(question.config, question.space, len(question.objectives), question.constraints)
        return [*_of_study(question, composer, foresight.outlook), "nothing was started"]


def foretell_single(configuration: Configuration, foresight: Foresight) -> list[str]:
    """Lines on what one training would be and take. Raises UserError for whatever `run` would refuse."""
    with keeping_no_memos():
        experiment = foresight.check(configuration)
        return _of_single(experiment, foresight.outlook(experiment))


def _of_single(experiment: Experiment, look: Outlook) -> list[str]:
    config = experiment.config
    runs = Path(config["runs"]).absolute()
    known = runs_with_signature(runs, experiment.signature) if config["reuse"] else []
    pace = pace_of(runs, experiment.contents["model.path"], config)
    lines = [
        *experiment.notices,
        f"signature {experiment.signature}, {experiment.steps} steps, in {near(runs / SINGLE / config['name'])}",
        *lines_of([look], pace),
        slots_line(launcher_of(config).plan(1).slots),
        time_line([look], pace, 1, 1),
        *_free(runs, look.disk.of_a_run + look.disk.caches),
        f"record:   {_record(config)}",
    ]
    if known:
        lines.append(
            f"this experiment is there already: {near(known[0])}; finished and intact, it is not trained again"
        )
    return [*lines, "nothing was started"]


def _of_study(question: Question, composer: Composer, outlook: Callable[[Experiment], Outlook]) -> Iterator[str]:
    config, rules = question.config, question.constraints
    runs = Path(config["runs"]).absolute()
    folder = runs / question.name
    begun = "is there already and would be continued" if folder.exists() else "would be made"
    assert rules is not None
    experiments = [composer.experiment(words) for words in covering(question.space, rules)[:CHECKED_AHEAD]]
    looks = [outlook(experiment) for experiment in experiments]
    pace = pace_of(runs, experiments[0].contents["model.path"], experiments[0].config)
    slots = launcher_of(config).plan(question.most_at_once(question.trials), shape_of(read_study(folder))).slots
    replication = question.replication
    again = replication.top * replication.seeds
    trainings = question.trials * replication.replicates + again
    size = max(look.disk.of_a_run for look in looks) * trainings
    yield from question.notices
    yield f"a study of {question.trials} trials, {_aim(question)}; {near(folder)} {begun}"
    yield from (f"  {key}: {values}" for key, values in question.space.described().items())
    yield from lines_of(looks, pace)
    yield slots_line(slots)
    seeds = f" x {replication.replicates} seeds" if replication.replicates > 1 else ""
    best = f" + at most {again} of the best again" if again else ""
    fewer = ", fewer steps where trials are pruned" if prunes(config["pruner"]) else ""
    yield f"all:      {question.trials} trials{seeds}{best} = {trainings} trainings{fewer}; {shown_size(size)} at most"
    yield time_line(looks, pace, trainings, len(slots))
    yield from _free(runs, size + looks[0].disk.caches)
    yield f"record:   {_record(config)}"


def _free(runs: Path, size: int) -> Iterator[str]:
    """The room where the runs go, against what they will take there."""
    place = next(one for one in (runs, *runs.parents) if one.exists())
    free = shutil.disk_usage(place).free
    short = "; this is not enough, save fewer files with train.save_last_epochs" if free < size else ""
    yield f"room:     {shown_size(free)} free where the runs go{short}"


def _record(config: Mapping[str, Any]) -> str:
    tracking = config["tracking"]
    return _PASSWORD.sub(r"\1:***@", str(tracking["uri"])) if tracking["enabled"] else "none but the folder"


def _aim(question: Question) -> str:
    if question.batch is None:
        return f"the least {', '.join(question.objectives)}"
    return f"ranked by your comparisons, which it waits for after every {question.batch}"
