"""Accept a night as the baseline that later nights are compared with, show the baselines, or say what differs."""

from __future__ import annotations

from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.place import runs_of, split_runs
from sweeplora.errors import UserError

_EXAMPLE = 'python -m sweeplora baseline accept nightly-20261126-031500 --reason "noise offset is per channel now"'
_ACTIONS = ("accept", "show", "diff")


def main(words: list[str]) -> int:
    """Do what the first word says; 0, and for diff 1 where something differs."""
    parser = Parser("baseline", __doc__ or "", _EXAMPLE)
    parser.add_argument("action", choices=_ACTIONS, help="accept NIGHT [CONFIGURATION...], show [CONFIGURATION], diff")
    told = "accept: a night, and configurations if not all; show: a configuration; diff: a night, or one or two files"
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"{told}; runs=FOLDER")
    parser.add_argument("--reason", default=None, help="accept: why what the night measured is right from now on")
    meant = "accept: the night's regressions are meant"
    parser.add_argument("--although-regressed", action="store_true", help=meant)
    parser.add_argument("--into", default="baselines", metavar="FOLDER", help="the folder of the baselines")
    asked = parser.parse(words)
    folder = Path(asked.into)
    for word in asked.words:
        if asked.action == "show" and word.startswith("runs="):
            mend = "has no effect on `baseline show`, which reads --into alone; leave it out"
            raise UserError("runs", word.partition("=")[2], mend)
    runs, names = (runs_of if asked.action == "show" else split_runs)(asked.words)
    if asked.action != "accept" and (asked.reason is not None or asked.although_regressed):
        raise UserError("baseline", asked.action, "--reason and --although-regressed belong to accept")
    match asked.action:
        case "accept":
            return _accept(runs, names, folder, (asked.reason, asked.although_regressed))
        case "show":
            return _show(names, folder)
        case _:
            return _diff(runs, names, folder)


def _accept(runs: Path, names: list[str], into: Path, word: tuple[str | None, bool]) -> int:
    from sweeplora.nightly.accept import Word, accept
    from sweeplora.nightly.folder import NightFolder
    from sweeplora.report.find import find_folder

    if not names:
        raise UserError("baseline accept", "", "name a night, e.g. nightly-20261126-031500; it is never the last one")
    if word[0] is None:
        raise UserError("--reason", "missing", 'say why, e.g. --reason "noise offset is per channel now"')
    night = NightFolder(find_folder(runs, names[0]))
    print("\n".join(accept(night, into, Word(word[0], word[1]), names[1:])))
    print(f"review and commit {into}")
    return 0


def _show(names: list[str], folder: Path) -> int:
    from sweeplora.nightly.baseline import read_baselines
    from sweeplora.nightly.shown import overview, whole

    if len(names) > 1:
        raise UserError("baseline show", names[1], "one configuration at a time, or none for all of them")
    found = read_baselines(folder)
    if not found:
        raise UserError("--into", folder, "there are no baselines; `baseline accept` writes them")
    chosen = [one for one in found if not names or names[0] in (one.key.configuration, one.file_name)]
    if not chosen:
        known = ", ".join(dict.fromkeys(one.key.configuration for one in found))
        raise UserError("baseline show", names[0], f"there is no such baseline; there are: {known}")
    print("\n".join(overview(chosen) if not names else [line for one in chosen for line in whole(one)]))
    return 0


def _diff(runs: Path, names: list[str], folder: Path) -> int:
    from sweeplora.nightly.shown import diff_files, diff_night

    if names and all(name.endswith(".json") for name in names):
        lines, differs = diff_files([Path(name) for name in names], folder)
    elif len(names) <= 1:
        lines, differs = diff_night(runs, names[0] if names else None, folder)
    else:
        raise UserError("baseline diff", names[1], "give a night (the newest without one), or one or two files")
    print("\n".join(lines))
    return 1 if differs else 0
