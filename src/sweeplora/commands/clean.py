"""List what can be removed below runs/, and remove it on --yes: leftovers, failed runs, weights, whole studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.place import split_runs
from sweeplora.commands.whole import Named, runs_named, whole_named
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.report.cleaning import Removal

_EXAMPLE = "python -m sweeplora clean rank_alpha --yes"


def main(words: list[str]) -> int:
    """List, or with --yes remove; returns 0. Without names: what no result needs. With names: these studies or runs."""
    from sweeplora.report.cleaning import remove

    parser = Parser("clean", __doc__ or "", _EXAMPLE)
    parser.add_argument("--yes", action="store_true", help="remove what is listed; without it nothing is removed")
    parser.add_argument(
        "--weights",
        type=_kept,
        metavar="KEEP",
        help="remove weights only: all but `last` of each run, or but `best:K` of all together",
    )
    parser.add_argument("--json", action="store_true", help="the list as JSON, sizes in bytes")
    parser.add_argument("words", nargs="*", metavar="WORD", help="studies or runs; runs=FOLDER; tracking.uri=…")
    asked = parser.parse(words)
    runs, rest = split_runs(asked.words)
    overrides = [word for word in rest if word.startswith("tracking.")]
    names = [word for word in rest if word not in overrides]
    named: list[Named] = []
    if asked.weights is not None:
        removals = _weights(runs, names, asked.weights)
    elif names:
        named = whole_named(runs, names, overrides)
        removals = [_whole(one) for one in named]
    else:
        removals = _everything(runs)
    if asked.yes:
        for one in named:
            _forget(runs, one)
        for removal in removals:
            remove(runs, removal)
    if asked.json:
        print(json_text({"removed": asked.yes, "removals": [_as_data(one) for one in removals]}, indent=1))
    else:
        print("\n".join(_told(removals, named, asked.yes)))
    return 0


def _everything(runs: Path) -> list[Removal]:
    from sweeplora.report.cleaning import cache_orphans, failed_runs, leftovers

    return [*failed_runs(runs), *leftovers(runs), *cache_orphans(runs)]


def _weights(runs: Path, names: Sequence[str], best: int) -> list[Removal]:
    from sweeplora.report.cleaning import is_running, weights_but
    from sweeplora.rundir.places import every_run, owner_of

    folders = runs_named(runs, names) if names else list(every_run(runs))
    running = [owner for owner in dict.fromkeys(map(owner_of, folders)) if is_running(owner)]
    if running and names:
        raise UserError("clean", running[0].name, "it is running; stop it first, nothing is removed")
    for owner in running:
        print(f"{owner.relative_to(runs)} is running: its weights stay", file=sys.stderr)
    return weights_but([folder for folder in folders if owner_of(folder) not in running], best or None)


def _whole(named: Named) -> Removal:
    from sweeplora.report.cleaning import Removal, whole

    if named.folder is None:
        return Removal(named.root, "its folder is gone already", (), 0)
    return whole(named.folder)


def _forget(runs: Path, named: Named) -> None:
    """Make Optuna and MLflow forget a study; its folder goes last, so that a second try finds all of it."""
    from sweeplora.record.forget import forget as forget_record
    from sweeplora.sweep.forget import forget as forget_study

    if named.in_optuna:
        forget_study(runs, named.root)
    if named.tracking is not None:
        forget_record(named.tracking, named.root)


def _told(removals: Sequence[Removal], named: Sequence[Named], done: bool) -> list[str]:
    from sweeplora.report.summaries import columns, shown_size

    if not removals:
        return ["there is nothing to remove"]
    lines = columns([[one.what, shown_size(one.size), one.why] for one in removals])
    for one in named:
        places = [*(["Optuna's database"] if one.in_optuna else [])]
        places += [f"{one.recorded} runs of MLflow's record"] if one.recorded else []
        lines += [f"{one.root} is also in {' and in '.join(places)}"] if places else []
    total = shown_size(sum(one.size for one in removals))
    return [*lines, f"{total} removed" if done else f"{total} in all; nothing is removed yet: add --yes"]


def _as_data(removal: Removal) -> dict[str, Any]:
    return {**removal.__dict__, "paths": [str(path) for path in removal.paths]}


def _kept(text: str) -> int:
    """0 for `last`, K for `best:K`."""
    if text == "last":
        return 0
    word, _, count = text.partition(":")
    if word == "best" and count.isascii() and count.isdigit() and int(count) > 0:
        return int(count)
    raise UserError("--weights", text, "give last, or best:K with a number of files, e.g. best:3")
