"""Optuna's side of a study: what was asked and told, kept in SQLite across any number of drivers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeplora.errors import UserError
from sweeplora.rundir.record import STUDY, TrialOutcome, TrialRecord, Verdict, trial_folders
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.extension import Signed, changes, refuse_more_than_adding
from sweeplora.sweep.outcomes import missing_memory, out_of_memory
from sweeplora.sweep.question import Question
from sweeplora.sweep.reuse import free_name
from sweeplora.sweep.search.constrained import distributions
from sweeplora.sweep.search.known_points import first_of, proposal_of
from sweeplora.sweep.search.proposals import propose
from sweeplora.sweep.search.searchers import Search, build_pruner, build_search
from sweeplora.sweep.storage import complete_pruned, open_storage, revalue, storage_faults, widen


class Ledger:
    """A study's trials. COMPLETE, PRUNED and FAIL count; RUNNING ones of a dead driver are taken over."""

    def __init__(self, study: optuna.Study, question: Question, search: Search, storage: RDBStorage) -> None:
        grid = search.grid
        self._study = study
        self._storage = storage
        self._question = question
        self._grid = grid
        self._lost: dict[int, FrozenTrial] = {}
        trials = study.get_trials(deepcopy=False)
        own = [trial for trial in trials if _GIVEN not in trial.user_attrs]
        self._begun = sum(trial.state != TrialState.WAITING for trial in own)
        self._points = question.points if grid is None else grid
        order = range(len(self._points)) if grid is None else first_of(grid, question.points)
        taken = {trial.user_attrs.get(_KNOWN) if grid is None else self._place(trial) for trial in trials}
        self._open_points = deque(index for index in order if index not in taken)
        self._points_wait = any(trial.state == TrialState.WAITING for trial in trials)

    @cached_property
    def _places(self) -> dict[str, int]:
        """The grid's points in JSON and their places; made where there are trials: it takes a while."""
        return {json.dumps(point, sort_keys=True): place for place, point in enumerate(self._grid or ())}

    def _place(self, trial: FrozenTrial) -> int | None:
        """A trial's place in the grid."""
        fixed = trial.system_attrs.get("fixed_params", {})
        return self._places.get(json.dumps(fixed, sort_keys=True))

    def ended(self) -> list[int]:
        """Numbers of the trials that ended, in any state."""
        trials = self._study.get_trials(deepcopy=False, states=_ENDED)
        return [trial.number for trial in trials if _GIVEN not in trial.user_attrs]

    def compare(self, records: Mapping[int, TrialRecord]) -> None:
        """Raise ValueError where the database differs from the trials' own records: number -> record."""
        trials = self._study.get_trials(deepcopy=False)
        again = self._study.user_attrs.get(_AGAIN, [])
        if [trial.number for trial in trials] != list(range(len(trials))):
            raise ValueError("its trials are not numbered from 0 on")
        for trial in trials:
            record = records.get(trial.number)
            if trial.state == TrialState.WAITING or record is None:
                continue
            if dict(propose(self._question.space, _replayed(self._study, trial)).params) != dict(record.params):
                raise ValueError(f"its trial {trial.number} has other parameters than in {_RECORD}")
            if self._question.batch is not None:
                continue  # a preference changes with every comparison, and only its search keeps it
            told = trial.state == TrialState.COMPLETE and record.verdict == "complete" and trial.number not in again
            if told and tuple(trial.values) != record.values:
                raise ValueError(f"its trial {trial.number} has other values than in {_RECORD}")
        if self._grid is not None:
            for trial in trials:
                if self._place(trial) is None:
                    raise ValueError(f"its trial {trial.number} is no point of the grid")

    def lose(self, numbers: Collection[int]) -> None:
        """Mark ended trials as lost: their files are gone or damaged, so they have to be trained again."""
        ended = self._study.get_trials(deepcopy=False, states=_ENDED)
        self._lost |= {trial.number: trial for trial in ended if trial.number in numbers}

    def left(self) -> list[AskedTrial]:
        """Trials that a driver started and did not end, and lost trials."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        begun = [self._asked(optuna.Trial(self._study, trial._trial_id)) for trial in running]
        return [*(self._again(trial) for trial in self._lost.values()), *begun]

    def counted(self) -> int:
        """How many trials ended, in any state, and were not lost."""
        return len(self.ended()) - len(self._lost)

    @property
    def begun(self) -> int:
        """How many trials were asked for so far."""
        return self._begun

    def revalue(self, values: Mapping[int, float]) -> None:
        """Give complete trials other values: number -> value."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.number in values and trial.value != values[trial.number]:
                revalue(self._storage, trial, values[trial.number])

    def ask(self) -> AskedTrial | None:
        """The next trial, or None once the question's number of trials was asked for."""
        if self._begun >= self._question.trials:
            return None
        if self._open_points and not self._points_wait:
            index = self._open_points.popleft()
            self._study.enqueue_trial(self._points[index], user_attrs={_KNOWN: index} if self._grid is None else None)
        self._points_wait = False
        self._begun += 1
        return self._asked(self._study.ask())

    def give(self) -> None:
        """Give the search what it is to learn from another study; what an earlier driver gave is not doubled."""
        there = {trial.user_attrs.get(_GIVEN) for trial in self._study.get_trials(deepcopy=False)}
        every = distributions(self._question.space)
        for given in self._question.given:
            if given.source in there:
                continue
            proposal = proposal_of(self._question.space, given.params)
            rules = self._question.constraints
            excesses = rules.excesses(proposal) if rules and proposal is not None else {}
            trial = optuna.trial.create_trial(
                params=given.params,
                distributions={name: every[name] for name in given.params},
                values=list(given.values),
                user_attrs={_GIVEN: given.source},
                constraints={text: min(excess, 0.0) for text, excess in excesses.items()},
            )
            self._study.add_trial(trial)

    def report(self, asked: AskedTrial, step: int, value: float) -> bool:
        """Report an intermediate value; True if the pruner stops the trial, or already stopped it by that step."""
        if asked.ended is not None:
            steps = asked.ended.intermediate_values if asked.ended.state == TrialState.PRUNED else {}
            return bool(steps) and step >= max(steps)
        assert asked.trial is not None, "asked by Optuna"
        asked.trial.report(value, step)
        return bool(asked.trial.should_prune())

    def tell(self, asked: AskedTrial, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """End a trial; if Optuna already has its result, that stays as it is.

        `errors`: standard errors of the values where they are means over seeds; kept as the trial's attribute.
        A trial that diverged or ran out of memory is pruned with a violated constraint, which every sampler respects.
        """
        if asked.ended is not None:
            again = set(self._study.user_attrs.get(_AGAIN, []))
            self._study.set_user_attr(_AGAIN, sorted({*again, asked.number}))
            return
        if asked.came_back:
            if outcome.verdict == "complete":
                self.complete(asked.number, outcome.values, errors)
            return
        assert asked.trial is not None, "asked by Optuna"
        if self._question.constraints:
            for text, excess in self._question.constraints.excesses(asked.proposal).items():
                asked.trial.set_constraint(text, min(excess, 0.0))
        if errors:
            asked.trial.set_user_attr(_ERRORS, list(errors))
        state = _STATES[outcome.verdict]
        if outcome.verdict == "diverged":
            asked.trial.set_constraint("feasible", 1.0)
            state = TrialState.PRUNED
        elif outcome.verdict == "failed" and out_of_memory(outcome.message):
            asked.trial.set_constraint("GiB of memory missing", missing_memory(outcome.message))
            state = TrialState.PRUNED
        self._study.tell(asked.trial, list(outcome.values) if state == TrialState.COMPLETE else None, state=state)

    def pruned(self) -> list[AskedTrial]:
        """Trials that Optuna knows as pruned, as ones that may go on."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return [self._again(trial)._replace(ended=None, came_back=True) for trial in trials]

    def complete(self, number: int, values: Sequence[float], errors: Sequence[float] = ()) -> None:
        """Complete a trial that Optuna knows as pruned: it went on from its state to its end."""
        attributes = {_ERRORS: list(errors)} if errors else {}
        complete_pruned(self._storage, self._study.get_trials(deepcopy=False)[number], values, attributes)

    def _again(self, trial: FrozenTrial) -> AskedTrial:
        # An ended trial returns its stored values.
        proposal = propose(self._question.space, trial)
        return AskedTrial(trial.number, proposal, optuna.Trial(self._study, trial._trial_id), trial)

    def _asked(self, trial: optuna.Trial) -> AskedTrial:
        return AskedTrial(trial.number, propose(self._question.space, trial), trial)


def _replayed(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial | FrozenTrial:
    """A trial that can be asked for its values again."""
    return trial if trial.state.is_finished() else optuna.Trial(study, trial._trial_id)


_AGAIN = "trained again"
"""The study's attribute with the numbers of lost trials that ended again, perhaps with another value."""

_QUESTION = "question"
_ERRORS = "standard error"
"""The attribute of a trial whose values are means over seeds: their standard errors."""

_GIVEN = "given"
"""The attribute of a trial that was another study's: where it comes from."""

_KNOWN = "known point"
"""The attribute of a trial that is a point of sweep.enqueue: its place there."""

_RECORD = "its folder's trial.json"
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STATES: dict[Verdict, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def open_ledger(runs: Path, question: Question, signed: Signed) -> Ledger:
    """Open or continue the study of that name; `signed` gives the signature of a proposal.

    Raises UserError if it was started with a different question, unless `sweep.extend` lets it grow.
    """
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = runs / "optuna.db"
    pruner = build_pruner(question.config["pruner"])
    with storage_faults(database, opening=True):
        storage = open_storage(database)
        study = optuna.create_study(
            storage=storage,
            study_name=question.name,
            directions=["minimize"] * len(question.objectives),
            load_if_exists=True,
        )
        asked = study.user_attrs.get(_QUESTION)
        if asked is None:
            study.set_user_attr(_QUESTION, dict(question.identity))
    if asked is not None:
        _reconcile(runs, question, asked, signed)
    with storage_faults(database, opening=True):
        if asked is not None and asked != question.identity:
            widen(storage, question.name, question.space)
            study.set_user_attr(_QUESTION, dict(question.identity))
        begun = len(study.get_trials(deepcopy=False))
        search = build_search(question.config["search"], question.space, begun, question.constraints)
        study.sampler, study.pruner = search.sampler, pruner
        ledger = Ledger(study, question, search, storage)
        ledger.give()
    return ledger


def expect_folder(runs: Path, name: str) -> None:
    """Raise UserError if the folder of a study in the database is gone."""
    folder = runs / name
    if not trial_folders(folder) and not (folder / STUDY).exists():
        clean = f"`python -m sweeplora clean {name} --yes` forgets it"
        mend = f"runs/optuna.db has this study, its folder is gone; give sweep.name={free_name(runs, name)}, or {clean}"
        raise UserError("sweep.name", name, mend)


def _reconcile(runs: Path, question: Question, asked: Mapping[str, Any], signed: Signed) -> None:
    """Raise UserError unless the question is the one that was asked, or `sweep.extend` lets it grow to this one."""
    changed = changes(asked, question.identity, signed)
    if not changed:
        return
    expect_folder(runs, question.name)
    told = "; ".join(map(str, changed[:4])) + ("; ..." if len(changed) > 4 else "")
    named = f"give it another name, e.g. sweep.name={free_name(runs, question.name)}"
    may_grow = all(change.key.startswith(("space.", "sweep.enqueue")) for change in changed)
    if not may_grow:
        raise UserError("sweep.name", question.name, f"that study asked something else ({told}); {named}")
    if not question.config["sweep"]["extend"]:
        mend = f"that study asked something else ({told}); {named}, or sweep.extend=true if the change only adds"
        raise UserError("sweep.name", question.name, mend)
    refuse_more_than_adding(asked, question.identity, question.config["search"])
