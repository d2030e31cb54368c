"""One run without a study: the same walk with one slot and no Optuna."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.launch.launcher import TRAINING, Launcher
from sweeplora.report.words import near, number
from sweeplora.rundir.files import read_json, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.sweep import reuse
from sweeplora.sweep.interrupt import Halt
from sweeplora.sweep.library_logs import logging_to
from sweeplora.sweep.recorder import finish_recorder, start_recorder
from sweeplora.sweep.screen import Board, Row, Screen, open_screen
from sweeplora.sweep.supervise import Ending, Place, Supervision, end_leftover

WELL, SOME_FAILED, INTERRUPTED = 0, 1, 130
_POLL_SECONDS = 0.1


def run_single(experiment: Experiment, module: str = TRAINING) -> int:
    """Train one configuration in `runs/single/<name>/` and return the exit code.

    An experiment that finished before is found again (`reuse=false` runs it anew); an interrupted one goes on
    in its folder; a folder of another experiment is left alone and the next free name taken.
    """
    config = experiment.config
    runs = Path(config["runs"]).absolute()
    launcher: Launcher = instantiate(config["launcher"])
    slot = launcher.plan(1)[0]
    screen = open_screen()
    found = reuse.find(runs, experiment.signature) if config["reuse"] else None
    if found is not None:
        screen.say(f"this experiment is already there: {near(found.path)}")
        _say_weights(found, screen)
        return WELL
    run = _folder(runs / "single", config["name"], experiment.signature)
    record = read_json(run.trial) or _new_record(experiment)
    RunDir.create(run.path, experiment.yaml)
    end_leftover(run, record, launcher.rules.grace_seconds)
    with Halt() as halt, logging_to(run.path / "driver.log"):
        write_json(run.trial, record)
        arguments = ["--runs", str(runs), "--single", run.path.name, "--config", str(run.config)]
        recorder = start_recorder(config, arguments, run.path / "mirror.log")
        try:
            ending = _drive(Supervision(run, record, Place(launcher, slot, module)), experiment, screen, halt)
        finally:
            launcher.close(kill=halt.now)
        _conclude(run, record, ending, config)
        finish_recorder(recorder, screen, halt)
        return _tell(run, record, screen)


def _folder(parent: Path, name: str, signature: str) -> RunDir:
    """The experiment's own unfinished folder, or the first free one of that name."""
    number_ = 1
    while True:
        run = RunDir(parent / (name if number_ == 1 else f"{name}-{number_}"))
        if not run.path.exists():
            return run
        if (read_json(run.trial) or {}).get("signature") == signature and not reuse.is_finished(run):
            if is_held(run.lock):
                raise UserError("name", name, f"this experiment is running in {near(run.path)}; wait for it")
            return run
        number_ += 1


def _new_record(experiment: Experiment) -> dict[str, Any]:
    return {
        "study": None,
        "number": None,
        "signature": experiment.signature,
        "overrides": list(experiment.overrides),
        "params": {},
        "attempts": [],
        "verdict": "running",
        "value": None,
        "steps": experiment.steps,
    }


def _drive(supervision: Supervision, experiment: Experiment, screen: Screen, halt: Halt) -> Ending:
    row = Row("", "", "running", experiment.steps, supervision.progress)
    board = Board(supervision.run.path.name, 1, rows=[row])
    for notice in experiment.notices:
        screen.event(notice)
    screen.event(experiment.arithmetic)
    screen.event(f"{near(supervision.run.path)} started: {experiment.steps} steps")
    try:
        while True:
            if halt.now:
                supervision.kill()
            elif halt.asked:
                supervision.stop("interrupted")
            _, ending = supervision.poll()
            if ending is not None:
                row.state, board.ended = ending.verdict, 1
                screen.show(board)
                return ending
            screen.show(board)
            time.sleep(_POLL_SECONDS)
    finally:
        screen.close()


def _conclude(run: RunDir, record: dict[str, Any], ending: Ending, config: dict[str, Any]) -> None:
    objective = config["sweep"]["objective"]
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    values = reuse.objective_values(run, names) if ending.verdict == "complete" else [None]
    value = (values[0] if len(values) == 1 else values) if reuse.finite(values) else None
    record |= {"verdict": ending.verdict, "value": value, "message": ending.message}
    write_json(run.trial, record)


def _tell(run: RunDir, record: dict[str, Any], screen: Screen) -> int:
    verdict, message = record["verdict"], record["message"]
    if verdict == "complete":
        screen.say(f"complete, {number(record['value'], 'without validation')}")
        _say_weights(run, screen)
        return WELL
    screen.say(f"{verdict}{': ' + message if message else ''}")
    screen.say(f"log:     {near(run.log)}")
    if verdict == "interrupted":
        screen.say("the same command starts it again")
        return INTERRUPTED
    return SOME_FAILED


def _say_weights(run: RunDir, screen: Screen) -> None:
    weights = (read_json(run.result) or {}).get("weights")
    screen.say(f"weights: {near(run.path / weights) if weights else 'none'}")
    screen.say("browse:  python -m sweeplora ui")
