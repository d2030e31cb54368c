"""`nightly.bisect` from the command line: which configurations are searched, and what is said of the answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.nightly.bisect import KEY
from sweeplora.nightly.criterion import Criterion, Verdict, exit_code, verdict_of
from sweeplora.nightly.folder import nights
from sweeplora.nightly.plan import NightPlan
from sweeplora.nightly.report import from_data
from sweeplora.nightly.settings import Nightly
from sweeplora.nightly.speed import MEMORY, STEP
from sweeplora.nightly.which_commit import AskedRange, commits_asked, search_commits
from sweeplora.nightly.written import SUMMARY

FOLDER = "nightly-bisect"
"""Below `runs`: what was trained of commits, for any range and after any night."""


def blame(settings: Nightly, plan: NightPlan, base: Sequence[str], runs: Path) -> int:
    """Search the commits of `GOOD..BAD` for each failing configuration; returns 1 if one was found bad, else 0.

    Raises UserError for a range that cannot be searched, before anything is trained.
    """
    written = settings.bisect
    assert written is not None
    commits_asked(written)
    words = {one.name: one.words for one in plan.configured}
    names = failing(runs, written, list(words))
    seeds = range(plan.first_seed, plan.first_seed + settings.seeds)
    asked = AskedRange(written, base, {name: words[name] for name in names}, seeds, runs / FOLDER, runs)
    criteria = search_commits(asked, _say)
    _say(f"answers: {runs / FOLDER}")
    summary = os.environ.get(SUMMARY)
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in _markdown(written, criteria))
    return exit_code(verdict_of(criteria))


def failing(runs: Path, written: str, names: Sequence[str]) -> list[str]:
    """The configurations whose losses REGRESSED in the latest finished night; all of them if none did.

    Raises UserError if step time or memory REGRESSED there, and nothing else: that is no matter of losses.
    """
    for night in reversed(nights(runs)):
        content = night.read_report()
        if content is None or not content["finished"]:
            continue
        report = from_data({key: value for key, value in content.items() if key != "verdict"})
        failed = [one for one in report.criteria if one.verdict is Verdict.REGRESSED]
        found = dict.fromkeys(one.configuration for one in failed if one.metric not in (STEP, MEMORY))
        chosen = [name for name in found if name in names]
        if chosen:
            _say(f"searched: {', '.join(chosen)}, which REGRESSED in {night.path.name}")
            return chosen
        if failed:
            mend = (
                f"in {night.path.name} step time or memory REGRESSED, and no losses; compare commits by nightly.against"
            )
            raise UserError(KEY, written, mend)
        break
    _say("no finished night says which failed: all configurations are searched")
    return list(names)


def _markdown(written: str, criteria: Sequence[Criterion]) -> Iterator[str]:
    yield f"## Which commit: {written}"
    yield ""
    for one in criteria:
        sentence = one.sentence.replace("<", "&lt;").replace("`", "'")
        yield f"- **{one.verdict.value}** {one.configuration}: {sentence}"


def _say(line: str) -> None:
    print(line, flush=True)
