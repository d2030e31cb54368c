"""What a command line would do, told without starting anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.experiment import Experiment
from sweeplora.report.words import near
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.places import runs_with_signature
from sweeplora.sweep.question import Compose, Composer, read_question
from sweeplora.sweep.search.grammar import answers, split_command_line
from sweeplora.sweep.study import Check, experiment_of

_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/]*@")


def foretell(overrides: Sequence[str], compose: Compose, check: Check) -> list[str]:
    """Lines on what would be trained, how long and where. Raises UserError for whatever `run` would refuse."""
    plain, swept = split_command_line(overrides)
    configuration = compose(plain)
    composer = Composer(plain, compose, check)
    point = [] if swept else answers(configuration.config["sweep"]["space"], plain)
    if point:
        return _of_single(experiment_of(point, plain, compose, check))
    if not (swept or configuration.config["sweep"]["space"]):
        return _of_single(composer.experiment(()))
    question = read_question(configuration, composer, swept)
    folder = Path(question.config["runs"]).absolute() / question.name
    begun = "is there already and would be continued" if folder.exists() else "would be made"
    lines = [
        *question.notices,
        f"a study of {question.trials} trials, the least {', '.join(question.objectives)}; {near(folder)} {begun}",
        *(f"  {key}: {values}" for key, values in question.space.described().items()),
        f"record: {_record(question.config)}",
    ]
    return [*lines, "nothing was started"]


def _of_single(experiment: Experiment) -> list[str]:
    config = experiment.config
    runs = Path(config["runs"]).absolute()
    known = runs_with_signature(runs, experiment.signature) if config["reuse"] else []
    lines = [
        *experiment.notices,
        experiment.arithmetic,
        f"signature {experiment.signature}, {experiment.steps} steps, in {near(runs / SINGLE / config['name'])}",
        f"record: {_record(config)}",
    ]
    if known:
        lines.append(
            f"this experiment is there already: {near(known[0])}; finished and intact, it is not trained again"
        )
    return [*lines, "nothing was started"]


def _record(config: Mapping[str, Any]) -> str:
    tracking = config["tracking"]
    return _PASSWORD.sub(r"\1:***@", str(tracking["uri"])) if tracking["enabled"] else "none but the folder"
