"""A person's comparisons of a study's trials while the page is open: what is shown, what was picked, what follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from sweeplora.errors import UserError
from sweeplora.report.leaderboard import Entry, Leaderboard, read_leaderboard
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.prefer.pairing import next_pair
from sweeplora.report.prefer.side import Preview, last_previews, shared_prompts, side_picture
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.preferences import Preferences, preferences_of
from sweeplora.report.sheets import kept_in
from sweeplora.report.words import named_values
from sweeplora.rundir.preferences import Judgement, JudgementWriter, Picked, read_judgements


class Shown(NamedTuple):
    """What is on the page: the left and the right trial, and the prompts that both drew."""

    left: Entry
    right: Entry
    prompts: tuple[int, ...]


class Session:
    """The comparisons of one study. Only one session writes to a study at a time; the caller sees to that."""

    def __init__(self, folder: Path, objectives: tuple[str, ...], random: Random) -> None:
        """Raises UserError if the study has no two trials to compare."""
        self._folder, self._objectives, self._random = folder, objectives, random
        self._previews: dict[Path, dict[int, Preview]] = {}
        self._sides: dict[tuple[Path, tuple[int, ...]], str] = {}
        self._told = ""
        self._shown = self._next()
        if self._shown is None:
            count = len(self._entries())
            mend = f"it has {count} complete trials with previews, none of which share a prompt"
            if count < 2:
                mend = f"it has {count} complete trials with previews, and two are needed (sample=none draws none)"
            raise UserError("STUDY", folder.name, mend)
        self._writer = JudgementWriter(folder)

    def close(self) -> None:
        """End the session; every comparison is in its file already."""
        self._writer.close()

    @property
    def board(self) -> Leaderboard:
        """The study's trials as they are now, with all comparisons."""
        return read_leaderboard(self._folder, self._folder.name, self._objectives)

    def facts(self) -> dict[str, Any]:
        """What the page needs, as JSON data; nothing in it says which trials are shown."""
        found = self._found()
        shown = self._shown
        assert shown is not None, "trials do not vanish from a study"
        chances = [one.chance for one in found.of.values()]
        return {
            "pair": self._pair,
            "left": self._side(shown.left, shown.prompts),
            "right": self._side(shown.right, shown.prompts),
            "count": len(found.outcomes),
            "trials": len(found.numbers),
            "sure": max(chances, default=None),
            "lacking": len(found.lacking()) if self._objectives == (PREFERENCE,) else 0,
            "told": self._told,
        }

    def pick(self, pair: int, picked: Picked) -> bool:
        """Write down what was picked of the pair of this number; False if another pair is shown by now."""
        shown = self._shown
        if pair != self._pair or shown is None:
            return False
        self._writer.add(Judgement(shown.left.folder.name, shown.right.folder.name, picked), shown.prompts)
        left, right = _named(shown.left), _named(shown.right)
        match picked:
            case "left":
                self._told = f"You picked {left} over {right}."
            case "right":
                self._told = f"You picked {right} over {left}."
            case "tie":
                self._told = f"You called {left} and {right} equal."
        self._shown = self._next() or shown
        return True

    def undo(self) -> bool:
        """Take back the last comparison and show its pair again; False if there is none."""
        judgements = read_judgements(self._folder)
        if not judgements:
            return False
        last = judgements[-1]
        self._writer.undo()
        self._told = "The last comparison is taken back."
        entries = {entry.folder.name: entry for entry in self._entries()}
        if last.left in entries and last.right in entries:
            left, right = entries[last.left], entries[last.right]
            prompts = shared_prompts(self._of(left), self._of(right))
            self._shown = Shown(left, right, tuple(prompts)) if prompts else self._next()
        return True

    def result(self) -> list[str]:
        """What came of it, in sentences."""
        return preference_lines(self.board) or ["nothing was compared yet"]

    @property
    def _pair(self) -> int:
        """The number of the pair on the page: every comparison and every undoing changes it."""
        return self._writer.written

    def _entries(self) -> list[Entry]:
        """The complete trials with previews; trials that ended meanwhile are among them."""
        return [entry for entry in self.board.entries if entry.verdict == "complete" and self._of(entry)]

    def _found(self) -> Preferences:
        numbers: Mapping[str, int] = {entry.folder.name: entry.number for entry in self._entries()}
        return preferences_of(read_judgements(self._folder), numbers)

    def _next(self) -> Shown | None:
        entries = {entry.number: entry for entry in self._entries()}

        def comparable(one: int, other: int) -> bool:
            return bool(shared_prompts(self._of(entries[one]), self._of(entries[other])))

        pair = next_pair(self._found(), comparable, self._random)
        if pair is None:
            return None
        left, right = entries[pair[0]], entries[pair[1]]
        return Shown(left, right, tuple(shared_prompts(self._of(left), self._of(right))))

    def _of(self, entry: Entry) -> dict[int, Preview]:
        if entry.folder not in self._previews:
            self._previews[entry.folder] = last_previews(entry.folder)
        return self._previews[entry.folder]

    def _side(self, entry: Entry, prompts: tuple[int, ...]) -> str:
        key = (entry.folder, prompts)
        if key not in self._sides:
            self._sides[key] = side_picture(self._of(entry), prompts, kept_in(self._folder))
        return self._sides[key]


def _named(entry: Entry) -> str:
    return f"trial {entry.number} ({named_values(entry.params)})" if entry.params else f"trial {entry.number}"
