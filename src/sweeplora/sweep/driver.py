"""The loop of a study: fill free slots, follow the trials, prune, and tell Optuna how each ended."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sweeplora.errors import UserError
from sweeplora.launch.slot import Slot
from sweeplora.report.leaderboard import Leaderboard, read_leaderboard, write_leaderboard
from sweeplora.report.words import number, params_text
from sweeplora.rundir.files import read_json, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import Point
from sweeplora.sweep import reuse
from sweeplora.sweep.interrupt import Halt
from sweeplora.sweep.jobs import Job, Outcome, Workshop, outcome_of, outcome_told, prepare, refused
from sweeplora.sweep.ledger import Asked, Told
from sweeplora.sweep.screen import Board, Row, Screen
from sweeplora.sweep.search.searchers import prunes
from sweeplora.sweep.supervise import Ending, Place, Supervision

_POLL_SECONDS = 0.1
_TOLD: dict[str, Told] = {
    "complete": "complete",
    "pruned": "pruned",
    "failed": "failed",
    "diverged": "infeasible",
}


class Driver:
    """The trials of one study while one driver lives."""

    def __init__(self, shop: Workshop, slots: Sequence[Slot], screen: Screen, halt: Halt) -> None:
        self._shop = shop
        self._screen = screen
        self._halt = halt
        self._free = list(slots)
        self._left = shop.ledger.left()
        self._busy: dict[int, tuple[Slot, Job, Supervision]] = {}
        self._twins: list[Job] = []
        self.board = Board(shop.question.name, shop.question.trials, shop.ledger.counted())

    def run(self) -> None:
        """Until every trial ended, or the driver was asked to end."""
        while True:
            if self._halt.asked:
                self._stop_all()
            else:
                self._fill()
            for key in list(self._busy):
                self._follow(key)
            self._screen.show(self.board)
            if not self._busy and (self._halt.asked or self.board.ended >= self.board.total):
                return
            time.sleep(_POLL_SECONDS)

    def leaderboard(self) -> Leaderboard:
        """The study's trials so far, best first."""
        question = self._shop.question
        return read_leaderboard(self._shop.folder, question.name, question.objectives)

    def _stop_all(self) -> None:
        for _, _, supervision in self._busy.values():
            if self._halt.now:
                supervision.kill()
            else:
                supervision.stop("interrupted")

    def _fill(self) -> None:
        while self._free and not self._halt.asked:
            asked = self._left.pop(0) if self._left else self._shop.ledger.ask()
            if asked is None:
                return
            self._begin(asked)

    def _begin(self, asked: Asked) -> None:
        row = Row(str(asked.number), params_text(asked.proposal.params), "starting", None)
        self.board.rows.append(row)
        try:
            job = prepare(self._shop, asked, row)
        except UserError as error:
            self._conclude(refused(self._shop, asked, row), Outcome("failed", str(error), ()))
            return
        if job.record["verdict"] in _TOLD:
            # A driver died after the verdict and before it was told.
            self._conclude(job, outcome_told(job.record))
        elif (read_json(job.run.result) or {}).get("status") == "finished":
            # A training ended well after its driver had died.
            self._end(job, Ending("complete", "", True))
        elif not (self._shop.question.config["reuse"] and self._already_there(job)):
            self._launch(job)

    def _already_there(self, job: Job) -> bool:
        """Whether the experiment ran before, or runs right now in another slot."""
        found = reuse.find(self._shop.runs, job.signature)
        if found is not None:
            self._take(job, found)
            return True
        if any(other.signature == job.signature for _, other, _ in self._busy.values()):
            job.row.state = "waiting"
            write_json(job.run.trial, job.record)
            self._twins.append(job)
            return True
        return False

    def _take(self, job: Job, found: RunDir) -> None:
        reuse.take(found, job.run)
        job.record["found"] = str(found.path.relative_to(self._shop.runs))
        self._end(job, Ending("complete", f"known from {job.record['found']}", True))

    def _launch(self, job: Job) -> None:
        slot = self._free.pop(0)
        place = Place(self._shop.launcher, slot, self._shop.module)
        self._busy[job.asked.number] = (slot, job, Supervision(job.run, job.record, place))
        job.row.state = "running"
        self._screen.event(f"trial {job.asked.number} started: {job.row.params}")

    def _follow(self, key: int) -> None:
        slot, job, supervision = self._busy[key]
        attempts = len(job.record["attempts"])
        points, ending = supervision.poll()
        job.row.progress = supervision.progress
        if len(job.record["attempts"]) > attempts:
            job.row.note = f"(attempt {attempts + 1})"
            self._screen.event(f"trial {key} is tried again: {job.record['attempts'][-2]['message']}")
        if ending is not None:
            del self._busy[key]
            self._free = sorted([*self._free, slot], key=lambda one: one.index)
            self._end(job, ending)
        elif not supervision.stopping and self._hopeless(job, points):
            supervision.stop("pruned")

    def _hopeless(self, job: Job, points: list[Point]) -> bool:
        """Report new values of the objective; True when the pruner gives the trial up before its last step."""
        objectives = self._shop.question.objectives
        if not prunes(self._shop.question.config["pruner"]):
            return False
        new = {p.step: p.value for p in points if p.key == objectives[0] and p.step > 0 and reuse.finite([p.value])}
        last = job.record["steps"]
        return any([self._shop.ledger.report(job.asked, step, value) and step < last for step, value in new.items()])

    def _end(self, job: Job, ending: Ending) -> None:
        outcome = outcome_of(ending, job.run, self._shop.question.objectives)
        self._conclude(job, outcome)
        twins = [twin for twin in self._twins if twin.signature == job.signature]
        self._twins = [twin for twin in self._twins if twin.signature != job.signature]
        for twin in twins:
            if outcome.verdict == "complete":
                self._take(twin, job.run)
            else:
                self._conclude(twin, outcome)

    def _conclude(self, job: Job, outcome: Outcome) -> None:
        """Write the outcome into the folder, then tell it: a driver that dies between finds it there."""
        job.record.update(verdict=outcome.verdict, value=outcome.value, message=outcome.message)
        write_json(job.run.trial, job.record)
        job.row.state, job.row.note = outcome.verdict, ""
        reason = f": {outcome.message}" if outcome.message else ""
        if outcome.verdict == "interrupted":
            self._screen.event(f"trial {job.asked.number} interrupted{reason}")
            return
        infeasible = "out of memory" in outcome.message.lower()
        self._shop.ledger.tell(job.asked, "infeasible" if infeasible else _TOLD[outcome.verdict], outcome.values)
        self.board.ended += 1
        self._note(self.leaderboard())
        detail = " ".join(map(number, outcome.values)) or f"at step {job.row.progress.step}"
        self._screen.event(f"trial {job.asked.number} {outcome.verdict} {detail}{reason}")

    def _note(self, leaderboard: Leaderboard) -> None:
        write_leaderboard(self._shop.folder, leaderboard)
        best = leaderboard.best
        if best is not None:
            values = " ".join(map(number, best.values))
            self.board.best = f"{values} (trial {best.number}: {params_text(best.params)})"
