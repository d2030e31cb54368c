"""The leaderboard of a study while it runs: kept in memory, and written as often as costs next to nothing."""

from __future__ import annotations

import time
from pathlib import Path

from sweeplora.report.leaderboard import (
    Entry,
    Leaderboard,
    make_entry,
    preferences_among,
    ranked,
    write_leaderboard,
)
from sweeplora.report.objectives import PREFERENCE
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialRecord, readable_trials, replicate_folders, trial_folders

_SHARE = 0.02
"""Of the driver's time, what writing the leaderboard may take."""

_SECONDS_BETWEEN = 1.0


class Standings:
    """The ended trials of a study, best first.

    Ranking and writing all of them at every end would make the n-th trial cost n times as much as the first. So the
    files are written at most every second and for at most 2 % of the time; a driver that ends writes them once more.
    """

    def __init__(self, folder: Path, study: str, objectives: tuple[str, ...]) -> None:
        self._folder, self._study, self._objectives = folder, study, objectives
        self._entries: dict[Path, Entry] = {}
        self._due = time.monotonic()
        self._changed = False
        self.best: Entry | None = None
        for run, record in readable_trials([*trial_folders(folder), *replicate_folders(folder)]):
            self._take(run, record)

    def take(self, run: RunDir, record: TrialRecord) -> None:
        """Take in how a trial ended."""
        self._take(run.path, record)
        self.write_if_due()

    def write_if_due(self) -> None:
        """Write the files if a trial ended since, and the last writing is long enough ago."""
        if not self._changed or time.monotonic() < self._due:
            return
        started = time.monotonic()
        board = self.board()
        write_leaderboard(self._folder, board)
        self.best = board.best
        self._changed = False
        ended = time.monotonic()
        self._due = ended + max(_SECONDS_BETWEEN, (ended - started) / _SHARE)

    def board(self) -> Leaderboard:
        """All trials and repetitions, ranked."""
        entries = list(self._entries.values())
        return ranked(self._study, self._objectives, entries, preferences_among(entries))

    def _take(self, folder: Path, record: TrialRecord) -> None:
        entry = make_entry(folder, record, len(self._objectives))
        self._entries[folder] = entry
        self._changed = True
        # With several objectives the best is known once all are ranked.
        if (
            self._objectives != (PREFERENCE,)  # known once it is compared
            and entry.replicate is None
            and entry.values
            and (self.best is None or (len(entry.values) == 1 and entry.values < self.best.values))
        ):
            self.best = entry
