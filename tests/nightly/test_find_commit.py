"""The first bad commit is named with its p, from losses that were kept: nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.launch.slot import Slot
from sweeplora.nightly.bisect import Search, find
from sweeplora.nightly.checkouts import Commit, Range
from sweeplora.nightly.commit_trainings import CommitTrainings, Workshop
from sweeplora.nightly.criterion import Verdict
from sweeplora.rundir.files import sealed, write_json

WORDS = ["network=locon"]
GOOD = [0.100, 0.104, 0.098, 0.101, 0.103]
COMMITS = [Commit(f"{number}" * 40, 2 if number == 6 else 1, "A. Author", f"Change {number}") for number in range(9)]


class History:
    """Eight commits after a good one, and what was kept of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        slot = Slot(0, 1, 1, "cpu", ())
        shop = Workshop(folder, folder, folder, folder, folder, slot, self.said.append)
        self.trainings = CommitTrainings(shop, WORDS)

    def keep(self, number: int, losses: Sequence[float | None], skipped: str | None = None, triples: str = "t") -> None:
        content = {
            "asked": {"words": WORDS, "threads": 1},
            "commit": COMMITS[number].id,
            "losses": {str(seed): loss for seed, loss in enumerate(losses)},
            "triples": triples,
            "skipped": skipped,
        }
        write_json(self.folder / f"{COMMITS[number].short}.json", sealed(content))

    @property
    def search(self) -> Search:
        return Search("locon", Range(COMMITS[0], tuple(COMMITS[1:])), range(5), self.trainings, self.said.append)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """GOOD to 5 are good, with a little rounding at 3; 6 to 8 are 5 % worse, each seed a little differently."""
    made = History(tmp_path)
    for number in range(6):
        made.keep(number, [loss * (1 + 1e-7 * (number == 3)) for loss in GOOD])
    for number in range(6, 9):
        made.keep(number, [loss * (1.05 + 0.002 * seed) for seed, loss in enumerate(GOOD)])
    yield made
    made.trainings.close()


def test_the_first_bad_commit_is_named_with_effect_p_author_and_subject(history: History) -> None:
    found = find(history.search)
    assert found.verdict is Verdict.REGRESSED
    assert f"{COMMITS[6].short} (A. Author: Change 6), a merge" in found.sentence
    assert found.p is not None and found.p < 1e-4
    assert found.effect == pytest.approx(0.054, abs=1e-3)
    # GOOD, BAD, 4 (good), 6 (bad), 5 (good): the first bad one and the one before it with every seed.
    assert history.trainings.needed == f"{5 + 5 + 2 + 5 + 5} trainings of 5 commits"


def test_skipped_commits_beside_the_answer_share_the_blame(history: History) -> None:
    history.keep(5, [], skipped="refused: network.dim=8: no such key")
    history.keep(6, [], skipped="broken: ImportError: x")
    found = find(history.search)
    for number in (5, 6, 7):
        assert COMMITS[number].short in found.sentence
    assert any("no such key" in line for line in history.said)


def test_a_commit_that_diverges_is_bad(history: History) -> None:
    for number in (6, 7, 8):
        history.keep(number, [None] * 5, triples="")
    found = find(history.search)
    assert COMMITS[6].short in found.sentence
    assert "diverges" in found.sentence
    assert (found.p, found.effect) == (0.0, None)


def test_other_triples_are_no_comparison(history: History) -> None:
    history.keep(4, [0.2] * 5, triples="u")
    found = find(history.search)
    assert COMMITS[6].short in found.sentence
    assert any("other held-out triples" in line for line in history.said)


def test_a_bad_that_is_no_worse_passes_and_names_nothing(history: History) -> None:
    history.keep(8, GOOD)
    found = find(history.search)
    assert found.verdict is Verdict.PASS
    assert "is not worse" in found.sentence


@pytest.mark.parametrize(("number", "losses"), [(0, [None] * 5), (0, []), (8, [])])
def test_good_and_bad_have_to_be_trainable(history: History, number: int, losses: list[float | None]) -> None:
    history.keep(number, losses, skipped=None if losses else "broken: SyntaxError: x")
    with pytest.raises(UserError, match="take"):
        find(history.search)
