"""List what can be removed below runs/, and remove it on --yes: leftovers, failed runs, weights, whole studies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.commands import Parser
from sweeplora.commands.place import split_runs
from sweeplora.commands.whole import Named, runs_named, tracking_at, whole_named
from sweeplora.commands.words import STORE, expect_keys, is_assignment, key_and_value
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.report.cleaning import Removal

_KEPT = 1
_EXAMPLE = "python -m sweeplora clean rank_alpha --yes"


def main(words: list[str]) -> int:
    """List, or with --yes remove. Without names: what no result needs. With names: these studies or runs.

    Returns 0, or 1 where weights stay because MLflow's record could not be changed.
    """
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
    overrides = [word for word in rest if is_assignment(word)]
    names = [word for word in rest if word not in overrides]
    expect_keys("clean", overrides, (*STORE, "tracking.enabled"))
    if overrides and asked.weights is None and not names:
        mend = "has no effect where no study is named and no weights are removed; leave it out"
        raise UserError(*key_and_value(overrides[0]), mend)
    named: list[Named] = []
    if asked.weights is not None:
        removals = _weights(runs, names, asked.weights)
    elif names:
        named = whole_named(runs, names, overrides)
        removals = [_whole(one) for one in named]
    else:
        removals = _everything(runs)
    recorded = _recorded(removals) if asked.weights is not None else {}
    kept: list[UserError] = []
    freed = None
    if asked.yes:
        for one in named:
            _forget(runs, one)
        removals, kept = _unrecorded(runs, removals, recorded, overrides)
        recorded = _recorded(removals) if recorded else {}
        freed = sum(remove(runs, removal) for removal in removals)
    told = _told(removals, [*_also(named), *_in_record(recorded)], freed)
    print(_as_json(removals, freed) if asked.json else "\n".join(told))
    for error in kept:
        print(error, file=sys.stderr)
    return _KEPT if kept else 0


def _recorded(removals: Sequence[Removal]) -> dict[Path, list[str]]:
    """Run folder -> the artifacts of its files to remove, for the runs that are recorded."""
    from sweeplora.rundir.folder import MIRROR

    found: dict[Path, list[str]] = {}
    for path in (path for removal in removals for path in removal.paths):
        folder = path.parent.parent
        if (folder / MIRROR).is_file() or path.stat().st_nlink > 1:
            found.setdefault(folder, []).append(path.relative_to(folder).as_posix())
    return found


def _unrecorded(
    runs: Path, removals: Sequence[Removal], recorded: Mapping[Path, Sequence[str]], overrides: Sequence[str]
) -> tuple[list[Removal], list[UserError]]:
    """Take the recorded files out of MLflow; returns what is to be removed from the folders, and why other files stay.

    On one disk a file is also the store's: as long as that keeps it, removing it here frees nothing.
    """
    from sweeplora.config.compose import compose
    from sweeplora.record.forget import forget_weights
    from sweeplora.rundir.places import owner_of

    default = compose([f"runs='{runs}'", *overrides]).config if recorded else {}
    stay: dict[Path, UserError] = {}
    for owner in dict.fromkeys(map(owner_of, recorded)):
        tracking = tracking_at(runs, owner, default, overrides)
        of_it = {folder: keys for folder, keys in recorded.items() if owner_of(folder) == owner}
        try:
            forget_weights(tracking, runs, owner, of_it)
        except UserError as error:
            stay[owner] = error
    away = {folder for folder in recorded if owner_of(folder) in stay}
    gone = [one for one in removals if away.isdisjoint(path.parent.parent for path in one.paths)]
    return gone, [*stay.values()]


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


def _also(named: Sequence[Named]) -> list[str]:
    """Where else the studies and runs are."""
    lines = []
    for one in named:
        places = [*(["Optuna's database"] if one.in_optuna else [])]
        places += [f"{one.recorded} runs of MLflow's record"] if one.recorded else []
        lines += [f"{one.root} is also in {' and in '.join(places)}"] if places else []
    return lines


def _in_record(recorded: Mapping[Path, Sequence[str]]) -> list[str]:
    count = sum(map(len, recorded.values()))
    return [f"files of recorded runs: {count}; they and their logged models go from MLflow too"] if count else []


def _told(removals: Sequence[Removal], also: Sequence[str], freed: int | None) -> list[str]:
    """The list; `freed`: how many bytes were, None while nothing is removed."""
    from sweeplora.report.summaries import columns, shown_size

    if not removals:
        return ["there is nothing to remove" if freed is None else "nothing is removed"]
    lines = columns([[one.what, shown_size(one.size), one.why] for one in removals])
    total = sum(one.size for one in removals)
    if freed is None:
        return [*lines, *also, f"{shown_size(total)} in all; nothing is removed yet: add --yes"]
    lines += [*also, f"{shown_size(freed)} removed"]
    if freed < total:
        why = "these files have other names (hard links), in MLflow's store or in a run that reused them"
        lines.append(f"{shown_size(total - freed)} is not freed: {why}")
    return lines


def _as_json(removals: Sequence[Removal], freed: int | None) -> str:
    listed = [{**one.__dict__, "paths": [str(path) for path in one.paths]} for one in removals]
    return json_text({"removed": freed is not None, "freed": freed, "removals": listed}, indent=1)


def _kept(text: str) -> int:
    """0 for `last`, K for `best:K`."""
    if text == "last":
        return 0
    word, _, count = text.partition(":")
    if word == "best" and count.isascii() and count.isdigit() and int(count) > 0:
        return int(count)
    raise UserError("--weights", text, "give last, or best:K with a number of files, e.g. best:3")
