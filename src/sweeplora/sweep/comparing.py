"""`sweep.objective=preference`: a search by a person's eyes, in batches of trials that wait for comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeplora.errors import UserError
from sweeplora.report.leaderboard import Leaderboard
from sweeplora.report.objectives import PREFERENCE, UNKNOWN_PREFERENCE
from sweeplora.rundir.record import TrialOutcome
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.search.facts import facts_of
from sweeplora.sweep.search.searchers import prunes

if TYPE_CHECKING:
    from sweeplora.sweep.ledger import Ledger
    from sweeplora.sweep.question import Question

USUAL_BATCH = 6


def read_batch(config: Mapping[str, Any], objectives: Sequence[str], searched: Sequence[str]) -> int | None:
    """How many trials are trained between comparisons; None unless the objective is a person's preference.

    Raises UserError for what cannot be decided by eye, and for a batch that would have no effect.
    """
    sweep, written = config["sweep"], config["sweep"]["batch"]
    if PREFERENCE not in objectives:
        if written is not None:
            mend = f"has effect with sweep.objective={PREFERENCE} alone; leave it out"
            raise UserError("sweep.batch", written, mend)
        return None
    if len(objectives) > 1:
        raise UserError("sweep.objective", ", ".join(objectives), f"{PREFERENCE} stands alone; give it as the only one")
    _refuse_what_eyes_cannot(config, searched)
    if written is None:
        return USUAL_BATCH
    if isinstance(written, bool) or not isinstance(written, int) or written < 2:
        raise UserError("sweep.batch", written, "give a whole number of 2 or more: one trial is compared with nothing")
    trials = sweep["trials"]
    if isinstance(trials, int) and written >= trials:
        mend = f"nothing would be proposed after the comparisons: give less than sweep.trials={trials}"
        raise UserError("sweep.batch", written, mend)
    return written


def _refuse_what_eyes_cannot(config: Mapping[str, Any], searched: Sequence[str]) -> None:
    sweep, search, sample = config["sweep"], config["search"], config["sample"]
    if prunes(config["pruner"]):
        mend = f"stops trials by a measured value, and {PREFERENCE} is none; give pruner=none"
        raise UserError("pruner", "on", mend)
    confirm = sweep["confirm"]
    if isinstance(confirm, Mapping) and confirm.get("top", 0) != 0:
        mend = f"tests a measured loss; with sweep.objective={PREFERENCE} give sweep.confirm.top=0"
        raise UserError("sweep.confirm.top", confirm["top"], mend)
    if sweep["replicates"] != 1:
        mend = f"pictures of several seeds have no mean; with sweep.objective={PREFERENCE} give sweep.replicates=1"
        raise UserError("sweep.replicates", sweep["replicates"], mend)
    if sweep["warm_start"] is not None:
        mend = f"a preference says how a trial stands among those of its own study; leave it out with {PREFERENCE}"
        raise UserError("sweep.warm_start", sweep["warm_start"], mend)
    if not facts_of(search).learns:
        name = str(search["_target_"]).rpartition(".")[2]
        mend = "learns from no comparison; use search=tpe, or sweep.objective=val/loss and then `sweeplora prefer`"
        raise UserError("search", name, mend)
    if not sample["at_last"]:
        mend = f"sweep.objective={PREFERENCE} compares the previews after the last step; give sample.at_last=true"
        raise UserError("sample.at_last", sample["at_last"], mend)
    drawn = next((key for key in searched if key == "sample" or key.startswith("sample.")), None)
    if drawn is not None:
        mend = "changes how previews are drawn, so that trials could not be compared; give it one value"
        raise UserError(f"sweep.space.{drawn}", "searched", mend)


def refuse_for_a_single_run(sweep: Mapping[str, Any]) -> None:
    """Raise UserError where a single run asks for what only the trials of a sweep can have."""
    written = sweep["objective"]
    if written == PREFERENCE or (isinstance(written, list) and PREFERENCE in written):
        mend = "one run is compared with nothing; give val/loss, or name a space such as 'network.dim=choice(4,8)'"
        raise UserError("sweep.objective", written, mend)
    if sweep["batch"] is not None:
        raise UserError("sweep.batch", sweep["batch"], "there is nothing to search; leave it out")


def values_of(board: Leaderboard) -> dict[int, float]:
    """Number of each complete trial -> the value that the search is to learn from; less is better."""
    known = {} if board.preferences is None else board.preferences.of
    return {
        entry.number: 1 - known[entry.number].share if entry.number in known else UNKNOWN_PREFERENCE
        for entry in board.entries
        if entry.verdict == "complete"
    }


class Batches:
    """A study's trials, of which a batch is proposed once those before it were compared often enough."""

    def __init__(self, ledger: Ledger, question: Question, board: Callable[[], Leaderboard]) -> None:
        """`board`: the study's leaderboard as it is, with all comparisons."""
        assert question.batch is not None, "the objective is a person's preference"
        self._ledger, self._board = ledger, board
        self._batch, self._trials = question.batch, question.trials
        self._open: set[int] = set()
        self._open_until = 0
        self._waits = False

    def waits(self) -> bool:
        """Whether nothing is proposed before further comparisons."""
        return self._waits

    def left(self) -> list[AskedTrial]:
        """Trials that a driver started and did not end."""
        found = self._ledger.left()
        self._open |= {asked.number for asked in found}
        return found

    def counted(self) -> int:
        """How many trials have ended."""
        return self._ledger.counted()

    def ask(self) -> AskedTrial | None:
        """The next trial of a batch; None while one of the batch before runs, or is to be compared."""
        asked = self._ledger.ask() if self._may_ask() else None
        if asked is not None:
            self._open.add(asked.number)
        return asked

    def report(self, asked: AskedTrial, step: int, value: float) -> bool:
        """Nothing is stopped early."""
        return False

    def tell(self, asked: AskedTrial, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """End a trial."""
        self._ledger.tell(asked, outcome, errors)
        self._open.discard(asked.number)

    def pruned(self) -> list[AskedTrial]:
        """None stops early."""
        return []

    def _may_ask(self) -> bool:
        begun = self._ledger.begun
        if begun == 0 or begun < self._open_until or begun % self._batch or begun >= self._trials:
            return True
        if self._open:
            return False
        board = self._board()
        self._waits = bool(board.lacking())
        if not self._waits:
            self._ledger.revalue(values_of(board))
            self._open_until = begun + self._batch
        return not self._waits
