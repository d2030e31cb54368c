"""The trainings of commits: each in a worktree with its own environment, its losses kept as soon as it has ended."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.errors import UserError
from sweeplora.launch.slot import Slot
from sweeplora.nightly.checkouts import Commit, worktree
from sweeplora.nightly.composing import runs_word
from sweeplora.nightly.environments import NotInstalled, interpreter
from sweeplora.nightly.side import Answer, Place, Side, Tree
from sweeplora.record.provenance.ask_git import GitError
from sweeplora.rundir.files import read_sealed, sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.scores import read_scores


class DoesNotTrain(Exception):
    """A commit that cannot be judged; the message says why."""


class Trained(NamedTuple):
    """`val/loss` by seed, in order, infinite where the training diverged; and what names the triples it is over."""

    losses: tuple[float, ...]
    triples: str


@dataclass(frozen=True)
class Workshop:
    """Where commits are trained: the checkout, folders to compose and to train in, the slot, and shared environments.

    `folder` keeps the results; `here` is the user's folder.
    """

    root: Path
    folder: Path
    compose: Path
    here: Path
    environments: Path
    slot: Slot
    say: Callable[[str], None]


class CommitTrainings:
    """The trainings of one configuration, whose words are the same at every commit."""

    def __init__(self, workshop: Workshop, words: Sequence[str]) -> None:
        self._workshop = workshop
        self._words = list(words)
        self._open = ExitStack()
        self._side: tuple[Commit, Side] | None = None
        self._needed: set[tuple[str, int]] = set()

    @property
    def needed(self) -> str:
        """How many trainings were needed, those of earlier commands included: `22 trainings of 5 commits`."""
        return f"{len(self._needed)} trainings of {len({commit for commit, _ in self._needed})} commits"

    def train(self, commit: Commit, seeds: Sequence[int]) -> Trained:
        """The losses of these seeds; what was trained before is not trained again. Raises DoesNotTrain, UserError."""
        kept = self._kept(commit)
        if kept["skipped"] is not None:
            raise DoesNotTrain(kept["skipped"])
        for seed in seeds:
            if str(seed) not in kept["losses"]:
                self._one(commit, seed, kept)
            self._needed.add((commit.id, seed))
        losses = tuple(math.inf if kept["losses"][f"{s}"] is None else kept["losses"][f"{s}"] for s in seeds)
        return Trained(losses, kept["triples"] or "")

    def close(self) -> None:
        """End the process of the last commit; remove its worktree, and the cache, which its code has filled."""
        self._side = None
        self._open.close()
        shutil.rmtree(self._cache, ignore_errors=True)

    @property
    def _cache(self) -> Path:
        return self._workshop.folder / "runs"

    def _file(self, commit: Commit) -> Path:
        return self._workshop.folder / f"{commit.short}.json"

    def _kept(self, commit: Commit) -> dict[str, Any]:
        """What is known of a commit with these words and this number of threads, from earlier commands too."""
        asked = {"words": self._words, "threads": self._workshop.slot.threads}
        found = read_sealed(self._file(commit))
        if found is not None and found["asked"] == asked:
            return found
        return {"asked": asked, "commit": commit.id, "losses": {}, "triples": None, "skipped": None}

    def _one(self, commit: Commit, seed: int, kept: dict[str, Any]) -> None:
        """Train one seed, and write what came of it."""
        answer, run = self._answer(commit, seed)
        if answer.status in ("died", "interrupted"):  # something from outside, unless it happens again
            self._workshop.say(f"{commit.short} seed {seed} is tried again: {answer.message}")
            self.close()
            answer, run = self._answer(commit, seed)
        if answer.status in ("died", "interrupted"):
            mend = f"its training ended twice ({answer.message}); mend the machine, the same command goes on"
            raise UserError("nightly.bisect", commit.short, mend)
        if answer.status == "diverged":
            kept["losses"][f"{seed}"] = None
        elif answer.status != "finished":
            kept["skipped"] = f"{answer.status}: {answer.message}"
        else:
            self._note(run, seed, kept)
        write_json(self._file(commit), sealed(kept))
        shutil.rmtree(run.path, ignore_errors=True)
        if kept["skipped"] is not None:
            raise DoesNotTrain(kept["skipped"])

    def _note(self, run: RunDir, seed: int, kept: dict[str, Any]) -> None:
        scores = read_scores(run)
        if scores is None or not scores.by_step:
            kept["skipped"] = "it has no val/loss"
            return
        losses = scores.by_step[max(scores.by_step)]
        kept["losses"][f"{seed}"] = math.fsum(losses) / len(losses)
        kept["triples"] = hashlib.sha256(json.dumps(scores.triples).encode()).hexdigest()[:12]

    def _answer(self, commit: Commit, seed: int) -> tuple[Answer, RunDir]:
        run = RunDir(self._workshop.folder / "training")
        shutil.rmtree(run.path, ignore_errors=True)
        try:
            side = self._side_of(commit)
        except (NotInstalled, GitError) as error:  # not kept: it may be otherwise tomorrow
            raise DoesNotTrain(str(error)) from error
        return side.train([*self._words, f"seed={seed}", runs_word(self._cache)], run.path), run

    def _side_of(self, commit: Commit) -> Side:
        """The living process of a commit; the one before it ends."""
        if self._side is not None and self._side[0] == commit:
            return self._side[1]
        self.close()
        shop = self._workshop
        folder = self._open.enter_context(worktree(shop.root, commit, shop.folder / "worktree"))
        python = interpreter(shop.root, folder, shop.environments, shop.say)
        place = Place(shop.compose, shop.here, shop.folder / f"{commit.short}.log", shop.slot)
        side = self._open.enter_context(Side(Tree(commit.short, folder / "src", python), place))
        self._side = (commit, side)
        return side
