"""List what can be removed below runs/, and remove it on --yes: leftovers, failed runs, weights, whole studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeplora.commands import Parser
from sweeplora.commands.place import split_runs
from sweeplora.errors import UserError

if TYPE_CHECKING:
    from sweeplora.record.tracking import Tracking
    from sweeplora.report.cleaning import Removal

_EXAMPLE = "python -m sweeplora clean rank_alpha --yes"


class Named(NamedTuple):
    """A study or run to remove entirely: its folder's name below `runs`, and where else it is remembered."""

    root: str
    folder: Path | None
    in_optuna: bool
    tracking: Tracking | None
    recorded: int


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
        named = [_named(runs, name, overrides) for name in names]
        removals = [_whole(one) for one in named]
    else:
        removals = _everything(runs)
    if asked.yes:
        for one in named:
            _forget(runs, one)
        for removal in removals:
            remove(runs, removal)
    if asked.json:
        print(json.dumps({"removed": asked.yes, "removals": [_as_data(one) for one in removals]}, indent=1))
    else:
        print("\n".join(_told(removals, named, asked.yes)))
    return 0


def _everything(runs: Path) -> list[Removal]:
    from sweeplora.report.cleaning import cache_orphans, failed_runs, leftovers

    return [*failed_runs(runs), *leftovers(runs), *cache_orphans(runs)]


def _weights(runs: Path, names: Sequence[str], best: int) -> list[Removal]:
    from sweeplora.report.cleaning import is_running, weights_but
    from sweeplora.report.find import find_folder
    from sweeplora.rundir.places import every_run, is_study, run_folders

    places = [find_folder(runs, name) for name in names]
    for place in places:
        if is_running(place):
            raise UserError("clean", place.name, "it is running; stop it first, nothing is removed")
    inside = [run_folders(place) if is_study(place) else [place] for place in places]
    folders = [folder for some in inside for folder in some] if names else list(every_run(runs))
    idle = [folder for folder in folders if not is_running(folder) and folder.is_relative_to(runs)]
    return weights_but(idle, best or None)


def _named(runs: Path, name: str, overrides: Sequence[str]) -> Named:
    """A study or run by its name. Raises UserError if it is unknown, running, or outside of `runs`."""
    from sweeplora.config.nearest import nearest
    from sweeplora.record.forget import recorded
    from sweeplora.report.find import find_folder
    from sweeplora.rundir.folder import SINGLE
    from sweeplora.rundir.places import single_folders, study_folders
    from sweeplora.sweep.forget import remembered

    try:
        folder = find_folder(runs, name)
    except UserError:
        folder = None
    if folder is not None:
        if folder.parent not in (runs, runs / SINGLE):
            mend = f"give a whole study or a single run below {runs}; a trial goes with its study"
            raise UserError("clean", name, mend)
        root = folder.name if folder.parent == runs else f"{SINGLE}/{folder.name}"
    else:
        root = name.strip("/").removeprefix(f"{runs.name}/")
    optuna = root in remembered(runs)
    tracking = _tracking(runs, folder, overrides)
    count = recorded(tracking, root) if tracking is not None else 0
    if folder is None and (optuna or count) and (runs / root).is_dir():
        folder = runs / root  # what is left of it has no record of a study
    if folder is None and not optuna and not count:
        known = {*(path.name for path in (*study_folders(runs), *single_folders(runs))), *remembered(runs)}
        raise UserError("clean", name, f"there is no such study or run; {nearest(name, sorted(known))}")
    return Named(root, folder, optuna, tracking, count)


def _tracking(runs: Path, folder: Path | None, overrides: Sequence[str]) -> Tracking | None:
    """Where the record of a folder is: as its own configuration says, else the default below `runs`."""
    import yaml

    from sweeplora.config.compose import compose
    from sweeplora.record.location import tracking_of

    default = compose([f"runs='{runs}'", *overrides]).config
    changed = {
        key: value
        for key, value in default["tracking"].items()
        if any(word.lstrip("+").startswith(f"tracking.{key}=") for word in overrides)
    }
    files = [] if folder is None else [folder / "config.yaml", *sorted(folder.glob("*/config.yaml"))[:1]]
    for file in files:
        try:
            return tracking_of(yaml.safe_load(file.read_text()), runs, changed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            continue
    return tracking_of(default, runs)


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
    if named.tracking is not None and named.recorded:
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
