"""The studies and runs that `clean` is asked about: by their exact names or folders, and where each is remembered.

Elsewhere a word may be the beginning of a name, or a file inside of a run. What is to be removed is named in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeplora.errors import UserError

if TYPE_CHECKING:
    from sweeplora.record.tracking import Tracking


class Named(NamedTuple):
    """A study or run to remove entirely: its folder's name below `runs`, and where else it is remembered."""

    root: str
    folder: Path | None
    in_optuna: bool
    tracking: Tracking | None
    recorded: int


def whole_named(runs: Path, words: Sequence[str], overrides: Sequence[str]) -> list[Named]:
    """The study or single run of each word, once each, also where its folder is gone.

    `overrides`: of the tracking settings. Raises UserError for a word that is unknown, means two, or names a part.
    """
    from sweeplora.config.compose import compose

    default = compose([f"runs='{runs}'", *overrides]).config
    found: dict[str, Named] = {}
    for word in words:
        known = [_known(runs, root, default, overrides) for root in _roots(runs, word)]
        one = _only(runs, word, [one for one in known if one is not None])
        found[one.root] = one
    return list(found.values())


def runs_named(runs: Path, words: Sequence[str]) -> list[Path]:
    """The run folders that words name: a study's, a single run, a trial as `STUDY/NUMBER` or by its folder.

    Raises UserError for any other word.
    """
    from sweeplora.rundir.places import is_study, run_folders

    found: dict[Path, None] = {}
    for word in words:
        trial = _trial(runs, word)
        if trial is not None:
            found[trial] = None
            continue
        known = [Named(root, runs / root, False, None, 0) for root in _roots(runs, word) if _is_there(runs / root)]
        folder = runs / _only(runs, word, known).root
        found |= dict.fromkeys(run_folders(folder) if is_study(folder) else [folder])
    return list(found)


def tracking_at(runs: Path, folder: Path | None, default: Mapping[str, Any], overrides: Sequence[str]) -> Tracking:
    """Where the record of a folder is: as its own configuration says, else as `default` does, the composed one."""
    import yaml

    from sweeplora.record.location import tracking_of

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


def _roots(runs: Path, word: str) -> list[str]:
    from sweeplora.rundir.places import refuse_unreachable, roots_named

    refuse_unreachable("clean", word)
    roots = roots_named(runs, word)
    if not roots:
        mend = (
            f"give a whole study or a single run below {runs}, by its name or its folder; a trial goes with its study"
        )
        raise UserError("clean", word, mend)
    return roots


def _known(runs: Path, root: str, default: Mapping[str, Any], overrides: Sequence[str]) -> Named | None:
    """What is at, or remembered of, a path below `runs`; None if nothing is."""
    from sweeplora.record.forget import recorded
    from sweeplora.sweep.forget import remembered

    folder = runs / root if (runs / root).is_dir() else None
    in_optuna = root in remembered(runs)
    tracking = tracking_at(runs, folder, default, overrides)
    count = recorded(tracking, root)
    # What is left of a folder may have no record of a study: then it has to be known elsewhere.
    is_known = in_optuna or count > 0 or _is_there(runs / root)
    return Named(root, folder, in_optuna, tracking, count) if is_known else None


def _is_there(folder: Path) -> bool:
    from sweeplora.rundir.places import is_run, is_study

    return is_study(folder) or is_run(folder)


def _only(runs: Path, word: str, found: Sequence[Named]) -> Named:
    from sweeplora.config.nearest import nearest
    from sweeplora.rundir.folder import SINGLE
    from sweeplora.rundir.places import single_folders, study_folders
    from sweeplora.sweep.forget import remembered

    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(one.root for one in found)
        raise UserError("clean", word, f"{both} are called so; give single/NAME for the run, {runs}/NAME for the study")
    singles = [path.name for path in single_folders(runs)]
    if word.startswith(f"{SINGLE}/"):
        known = [f"{SINGLE}/{name}" for name in singles]
    else:
        known = [*(path.name for path in study_folders(runs)), *singles, *remembered(runs)]
    others = nearest(word, sorted(set(known))) if known else f"there is none below {runs}"
    raise UserError("clean", word, f"there is no such study or run; {others}")


def _trial(runs: Path, word: str) -> Path | None:
    """The trial that a word names as `STUDY/NUMBER`, or by its folder in that of the study; None for another word."""
    from sweeplora.rundir.places import is_study, numbers_of, roots_named, run_folders

    study, _, name = word.rstrip("/").rpartition("/")
    for root in roots_named(runs, study) if study else []:
        for folder in run_folders(runs / root) if is_study(runs / root) else []:
            if name == folder.name or ("-" not in name and numbers_of(name) == numbers_of(folder.name) is not None):
                return folder
    return None
