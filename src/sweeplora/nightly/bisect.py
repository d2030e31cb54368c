"""Which commit made training worse: the failing configurations trained again over the commits from GOOD to BAD.

The commits are those of BAD's first parents, halved as git bisect halves them. A commit is trained seed by seed until
its differences to GOOD decide whether it is good or bad (`sequential`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from sweeplora.errors import UserError
from sweeplora.nightly.checkouts import Commit, Range
from sweeplora.nightly.commit_trainings import CommitTrainings, DoesNotTrain, Trained
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.sequential import Scale, kind_of, scale_of, step_p
from sweeplora.rundir.files import write_json

KEY = "nightly.bisect"
METRIC = "bisect"
Test = Literal["good", "bad", "skipped"]
End = TypeVar("End")


class Halved(NamedTuple):
    """The answer of a search: the last good and the first bad index, and the skipped ones between them."""

    good: int
    bad: int
    between: tuple[int, ...]


def halve(count: int, test: Callable[[int], Test]) -> Halved:
    """Find the first bad of `count` in order, of which the last is bad and what comes before the first is good.

    A skipped one is passed over for its nearest neighbour, as git bisect does; `good` is -1 where no index is good.
    """
    good, bad, skipped = -1, count - 1, set[int]()
    while left := [index for index in range(good + 1, bad) if index not in skipped]:
        middle = (good + bad) / 2
        index = min(left, key=lambda one: abs(one - middle))
        kind = test(index)
        if kind == "good":
            good = index
        elif kind == "bad":
            bad = index
        else:
            skipped.add(index)
    return Halved(good, bad, tuple(sorted(index for index in skipped if good < index < bad)))


@dataclass(frozen=True)
class Search:
    """One configuration's search: the commits, the seeds, and where its trainings are made and kept."""

    configuration: str
    commits: Range
    seeds: Sequence[int]
    trainings: CommitTrainings
    say: Callable[[str], None]


def find(search: Search) -> Criterion:
    """Search one configuration. Raises UserError if GOOD or BAD cannot be trained."""
    good, after = search.commits
    then = _end(search, good, lambda: search.trainings.train(good, search.seeds))
    if not all(map(math.isfinite, then.losses)):
        raise UserError(KEY, good.short, f"{search.configuration} diverges there; take a commit where it does not")
    differences = _Differences(search, then)
    bad = _end(search, after[-1], lambda: differences.of(after[-1], search.seeds))
    scale = scale_of(bad)
    if scale is None:
        return _nothing(search, bad)
    search.say(f"{search.configuration}: {after[-1].short} {_change(scale.effect)} against {good.short}")
    found = halve(len(after), lambda index: _test(search, differences, after[index], scale))
    return _answer(search, differences, found)


def _end(search: Search, commit: Commit, train: Callable[[], End]) -> End:
    """What was trained of GOOD or of BAD, without which there is no search."""
    try:
        return train()
    except DoesNotTrain as error:
        mend = f"{search.configuration} cannot be judged there ({error}); take another commit"
        raise UserError(KEY, commit.short, mend) from None


class _Differences:
    """log(loss / loss of GOOD at the same seed) of a commit; infinite where it diverged."""

    def __init__(self, search: Search, good: Trained) -> None:
        self._search = search
        self._good = good

    def of(self, commit: Commit, seeds: Sequence[int]) -> list[float]:
        """Of these seeds, the first ones of the search's. Raises DoesNotTrain."""
        if commit == self._search.commits.good:
            return [0.0] * len(seeds)
        found = self._search.trainings.train(commit, seeds)
        if found.triples not in ("", self._good.triples):
            raise DoesNotTrain("it is scored on other held-out triples than GOOD")
        pairs = zip(found.losses, self._good.losses, strict=False)
        return [math.log(loss / good) if math.isfinite(loss) else math.inf for loss, good in pairs]


def _test(search: Search, differences: _Differences, commit: Commit, scale: Scale) -> Test:
    """Train a commit seed by seed until it is good or bad; skipped if it does not train or stays open."""
    for count in range(1, len(search.seeds) + 1):
        try:
            found = differences.of(commit, search.seeds[:count])
        except DoesNotTrain as error:
            search.say(f"{search.configuration}: {commit.short} is skipped: {error}")
            return "skipped"
        kind = kind_of(found, scale)
        if kind != "open":
            said = _change(sum(found) / len(found))
            search.say(f"{search.configuration}: {commit.short} is {kind}: {said} over {count} seeds: {commit.subject}")
            return kind
    search.say(f"{search.configuration}: {commit.short} is skipped: open after {len(search.seeds)} seeds")
    return "skipped"


def _answer(search: Search, differences: _Differences, found: Halved) -> Criterion:
    good, after = search.commits
    first, before = after[found.bad], good if found.good < 0 else after[found.good]
    earlier, later = (differences.of(commit, search.seeds) for commit in (before, first))
    p = step_p(earlier, later)
    effect = sum(b - a for a, b in zip(earlier, later, strict=True)) / len(later)
    named = f"{first.short} ({first.author}: {first.subject})"
    if found.between:
        others = ", ".join(after[index].short for index in found.between)
        named = f"one of {others}, which were skipped, and {named}"
    merged = ", a merge: what it brought in was not searched" if first.parents > 1 else ""
    sentence = (
        f"the first bad commit is {named}{merged}: val/loss {_change(effect)} against {before.short}, "
        f"p {p:.2g} over {len(later)} seeds; {search.trainings.needed}, {len(after)} in the range"
    )
    change = math.expm1(effect) if math.isfinite(effect) else None
    return Criterion(
        search.configuration, METRIC, Verdict.REGRESSED, sentence, effect=change, p=p, seeds=len(search.seeds)
    )


def _nothing(search: Search, bad: Sequence[float]) -> Criterion:
    good, after = search.commits
    effect = sum(bad) / len(bad)
    sentence = f"{after[-1].short} is not worse than {good.short}: {_change(effect)} over {len(bad)} seeds"
    return Criterion(search.configuration, METRIC, Verdict.PASS, sentence, effect=math.expm1(effect), seeds=len(bad))


def _change(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):+.2f} %" if math.isfinite(log_ratio) else "diverges"


def write_answers(folder: Path, commits: Range, criteria: Sequence[Criterion]) -> Path:
    """Keep the answers as JSON, named by the range."""
    file = folder / f"{commits.good.short}..{commits.after[-1].short}.json"
    answers: Mapping[str, object] = {
        "good": commits.good._asdict(),
        "bad": commits.after[-1]._asdict(),
        "answers": [{**vars(criterion), "verdict": criterion.verdict.value} for criterion in criteria],
    }
    write_json(file, answers)
    return file
