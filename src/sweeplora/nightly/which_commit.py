"""`nightly.bisect=GOOD..BAD`: each failing configuration's search over the commits, with everything it needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.nightly.bisect import KEY, Search, find, write_answers
from sweeplora.nightly.checkouts import Range, is_dirty, package_checkout, range_of
from sweeplora.nightly.commit_trainings import CommitTrainings, Workshop
from sweeplora.nightly.composing import compose_folder, sweep_named, training_words
from sweeplora.nightly.criterion import Criterion
from sweeplora.nightly.measuring import slot_of
from sweeplora.rundir.lock import hold


@dataclass(frozen=True)
class AskedRange:
    """What is searched: configurations (name -> words), each on top of the words `base`, with these seeds.

    `folder` keeps what was trained; `runs`: that of all runs.
    """

    written: str
    base: Sequence[str]
    configurations: Mapping[str, Sequence[str]]
    seeds: Sequence[int]
    folder: Path
    runs: Path


def commits_asked(written: str) -> tuple[Path, Range]:
    """The checkout and its commits from GOOD to BAD. Raises UserError before anything is trained."""
    root = package_checkout(KEY, written)
    return root, range_of(root, written, KEY)


def search_commits(asked: AskedRange, say: Callable[[str], None]) -> list[Criterion]:
    """One criterion a configuration, which names the first bad commit; also written to the folder.

    What an earlier command trained of these commits is not trained again. Raises UserError.
    """
    root, commits = commits_asked(asked.written)
    say(f"{len(commits.after)} commits from {commits.good.short} to {commits.after[-1].short}")
    if is_dirty(root):
        say(f"uncommitted changes of {root} take no part: commits are trained, in worktrees")
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    with _only_search(folder, asked.written):
        criteria = [_searched(asked, name, (root, commits), say) for name in asked.configurations]
    write_answers(folder, commits, criteria)
    return criteria


def _searched(asked: AskedRange, name: str, where: tuple[Path, Range], say: Callable[[str], None]) -> Criterion:
    """One configuration's answer."""
    root, commits = where
    folder, words = asked.folder, [*asked.base, *asked.configurations[name]]
    first = compose_folder(folder / "compose", Path.cwd(), sweep_named(words))
    environments = asked.runs / "cache" / "environments"
    shop = Workshop(root, folder / name, folder / "compose", Path.cwd(), environments, slot_of(words), say)
    shop.folder.mkdir(exist_ok=True)
    try:
        with closing(CommitTrainings(shop, [*first, *training_words(words), *_LEAN])) as trainings:
            found = find(Search(name, commits, asked.seeds, trainings, say))
    finally:
        shutil.rmtree(shop.compose, ignore_errors=True)
    say(found.line)
    return found


@contextmanager
def _only_search(folder: Path, written: str) -> Iterator[None]:
    """Hold the folder's lock. Raises UserError if another command searches."""
    try:
        lock = hold(folder / "driver.lock")
    except BlockingIOError:
        raise UserError(KEY, written, "another command is searching commits here; wait for it") from None
    with lock:
        yield


_LEAN = (
    "train.save_every_epochs=0",
    "train.save_every_steps=0",
    "train.save_last_epochs=0",
    "train.save_last_steps=0",
    "train.checkpoint_minutes=0",
    "sample.every_epochs=0",
    "sample.every_steps=0",
    "sample.at_first=false",
    "sample.at_last=false",
)
"""Of a searched training only its losses are wanted: no files on the way, and no pictures."""
