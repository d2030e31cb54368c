"""Go on with a finished or stopped run, as a new run: longer, or with another schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.one_run import key_of, refuse_study_words
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir

_EXAMPLE = "python -m sweeplora continue rank_alpha/3 train.epochs=20 scheduler=constant"
_SET_HERE = "`continue` sets it to the state of RUN; leave it out"
_LENGTHS = ("train.epochs", "train.steps")


def main(words: list[str]) -> int:
    """Train on from a run's kept state; returns 0 if all went well, 1 if something failed, 130 if interrupted."""
    from sweeplora.check.configuration import check
    from sweeplora.check.outlook import outlook
    from sweeplora.commands.place import split_runs
    from sweeplora.config.compose import compose
    from sweeplora.report.find import find_run
    from sweeplora.sweep.comparing import refuse_for_a_single_run
    from sweeplora.sweep.dry_run import Foresight, foretell_single, is_dry
    from sweeplora.sweep.preloading import Trains
    from sweeplora.sweep.single import run_single

    parser = Parser("continue", __doc__ or "", _EXAMPLE)
    parser.add_argument("run", metavar="RUN", help="study/number, a run's name or folder")
    parser.add_argument("overrides", nargs="*", help="key=value; the length counts from the first step of RUN")
    asked = parser.parse(words)
    runs, given = split_runs(asked.overrides)
    _refuse(given)
    run = find_run(runs, asked.run)
    configuration = compose(_words(run, runs, asked.run, given))
    resumed = configuration.config["train"]["resume"]
    if resumed != str(run.state.absolute()):  # by a word such as train={resume: null}
        raise UserError("train.resume", resumed, _SET_HERE)
    if any(key_of(word) == "sweep.objective" for word in given):
        refuse_for_a_single_run(configuration.config["sweep"])
    if is_dry(configuration.config):
        print("\n".join(foretell_single(configuration, Foresight(check, outlook))))
        return 0
    return run_single(check(configuration), Trains())


def _refuse(given: Sequence[str]) -> None:
    """Raise UserError for a word that would undo the continuing, and for one that is about a study."""
    for word in given:
        if key_of(word) == "train.resume":
            raise UserError("train.resume", word.partition("=")[2], _SET_HERE)
    refuse_study_words(given, "continue")


def _words(run: RunDir, runs: Path, name: str, given: Sequence[str]) -> list[str]:
    """The command line of the run that goes on: that of the one before, and what was given instead.

    Raises UserError for a run that is running, and for one whose state or whose command line is not there.
    """
    from sweeplora.rundir.lock import is_held
    from sweeplora.rundir.record import read_trial
    from sweeplora.rundir.state import read_about

    record = read_trial(run)
    if run.lock.exists() and is_held(run.lock):
        raise UserError("RUN", name, "it is running; wait for its end, or stop it first")
    if record is None:
        raise UserError("RUN", name, f"{run.path} has no trial.json that says how it was started")
    if read_about(run.state) is None:
        mend = "it keeps no state to go on from; train it with train.keep_state=true"
        raise UserError("RUN", name, f"{mend}{' reuse=false' if record.verdict == 'complete' else ''}")
    if not any(key_of(word) in _LENGTHS for word in given) and record.verdict == "complete":
        raise UserError("RUN", name, "it is finished; say how far it shall go on, such as train.epochs=20")
    lengths = {key_of(word) for word in given} & set(_LENGTHS)
    others = [f"{key}=null" for key in _LENGTHS if lengths and key not in lengths]
    keys = {key_of(word) for word in (*given, *others)} | {"runs", "train.resume"}
    kept = [word for word in record.overrides if key_of(word) not in keys]
    return [*kept, f"runs={runs}", f"train.resume={_quoted(run.state.absolute())}", *others, *given]


def _quoted(path: Path) -> str:
    """A path as a Hydra value, whatever characters are in it."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
