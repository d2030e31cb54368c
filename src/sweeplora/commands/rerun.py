"""Train a recorded run again and say whether it is identical, or where it parts and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.one_run import key_of, refuse_study_words
from sweeplora.commands.place import split_runs
from sweeplora.commands.target import file_target
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.commands.sides import Side
    from sweeplora.experiment import Configuration
    from sweeplora.launch.slot import Shape
    from sweeplora.report.repeat import Repeat
    from sweeplora.rundir.folder import RunDir
    from sweeplora.rundir.record import TrialRecord

_EXAMPLE = "python -m sweeplora rerun rank_alpha/3 seed=1"
_DIFFERENT = 1


def main(words: list[str]) -> int:
    """Train it again in a folder of its own; returns 0 if it is identical, or changed as asked, else 1."""
    from sweeplora.check.configuration import check
    from sweeplora.commands.sides import run_side
    from sweeplora.report.diff import config_diff
    from sweeplora.report.find import find_run
    from sweeplora.report.repeat import compare
    from sweeplora.rundir.record import read_trial
    from sweeplora.sweep.single import train_anew

    parser = Parser("rerun", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the comparison to this file")
    parser.add_argument("run", metavar="RUN", help="study/number, a study, a folder, a single run, a weights file")
    parser.add_argument("words", nargs="*", metavar="WORD", help="key=value to change; runs=FOLDER")
    asked = parser.parse(words)
    runs, rest = split_runs([asked.run, *asked.words])
    _refuse(rest[1:])
    target = None if asked.json is None else file_target("--json", asked.json, (".json",), _is_comparison)
    first, overrides = find_run(runs, rest[0]), rest[1:]
    record = read_trial(first)
    if record is None:
        raise UserError("RUN", first.path, "it has no trial.json: it was not started by sweeplora's command")
    experiment = check(configuration_of(first, record, runs, overrides))
    shape = None if any(word.lstrip("+").startswith("launcher") for word in overrides) else _shape(record)
    second, code = train_anew(experiment, shape)
    if code != 0:
        return code
    repeat, then, now = compare(first, second), run_side(first), run_side(second)
    changed = config_diff(then.signed, now.signed) if overrides else {}  # nothing if they say only how it runs
    differing = [] if repeat.identical or changed else _differing(record, second, (then, now))
    lines = _changes(then, now, second, changed) if changed else _told(first, second, repeat, differing)
    print("\n".join(lines))
    if target is not None:
        _write(target, {**_as_data(second, repeat, differing), "changed": changed})
    return 0 if changed or repeat.identical else _DIFFERENT


def _refuse(overrides: Sequence[str]) -> None:
    """Raise UserError for an override that changes nothing of a run that is trained again."""
    refuse_study_words(overrides, "rerun")
    for word in overrides:
        if key_of(word) == "reuse":
            mend = "has no effect on `rerun`, which always trains; leave it out"
            raise UserError("reuse", word.partition("=")[2], mend)


def _write(file: Path, told: Mapping[str, Any]) -> None:
    from sweeplora.rundir.files import write_whole

    try:
        write_whole(file, json_text(told, indent=1) + "\n")
    except OSError as error:  # its place was there before the training
        raise UserError("--json", file, f"cannot be written ({error.strerror}); all else is done") from None


def configuration_of(run: RunDir, record: TrialRecord, runs: Path, overrides: Sequence[str]) -> Configuration:
    """A recorded run's configuration with overrides, its paths where they are now. Raises UserError."""
    import yaml

    from sweeplora.config.recorded import changed, completed, composed_again, moved
    from sweeplora.experiment import Configuration
    from sweeplora.record.location import follow_runs
    from sweeplora.rundir.files import read_json

    recorded, added = completed(yaml.safe_load(run.config.read_text()))
    if added:
        print(f"not in the record, which is of an earlier version; as by default now: {', '.join(added)}")
    paths = (read_json(run.path / "restored.json") or {}).get("paths") or {}
    base = record.overrides[: len(record.overrides) - len(record.proposed)]
    again = composed_again(recorded, base, record.proposed, overrides) if overrides else None
    config = moved(changed(recorded, overrides, again), {**_assets(recorded), **paths})
    config["tracking"] = follow_runs(config["tracking"], Path(str(recorded["runs"])), runs)
    config |= {"runs": str(runs), "reuse": False}
    return Configuration(config, (*record.overrides, *overrides), ())


def _assets(recorded: Mapping[str, Any]) -> dict[str, str]:
    """The package's own files, where another installation of it has them."""
    from sweeplora.config.compose import asset

    found = {}
    for text in _texts(recorded):
        before, shipped, _ = text.rpartition("/sweeplora/assets/")
        if shipped and not Path(text).exists():
            found[before + shipped.rstrip("/")] = str(asset("")).rstrip("/")
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def _shape(record: TrialRecord) -> Shape | None:
    from sweeplora.launch.slot import Shape

    if record.processes is None or record.threads is None:
        return None
    return Shape(record.processes, record.threads)


def _told(first: RunDir, second: RunDir, repeat: Repeat, differing: Sequence[str]) -> list[str]:
    from sweeplora.report.words import near

    name = f"{first.path.parent.name}/{first.path.name}"
    if repeat.identical:
        same = "the last weights byte for byte" if repeat.weights_then else "no weights were recorded to compare"
        return [f"identical to {name}: every metric of {repeat.steps} steps, {same}", f"run: {near(second.path)}"]
    lines = [f"not identical to {name}"]
    parting = repeat.parting
    if parting is not None:
        size = "" if parting.size is None else f", a difference of {parting.size:.3g}"
        lines.append(f"it parts at step {parting.step}: {parting.key} was {parting.then}, is {parting.now}{size}")
        lines += [f"largest difference of {key}: {size:.3g}" for key, size in repeat.largest.items()]
    else:
        lines.append(f"every metric of {repeat.steps} steps is equal; the bytes of the last weights are not")
    lines += _weights_lines(first, second)
    lines += [f"differs: {line}" for line in differing] or ["differs: nothing that is recorded"]
    return [*lines, f"run: {near(second.path)}"]


def _weights_lines(first: RunDir, second: RunDir) -> list[str]:
    """The largest difference between the last weights, where both files are there."""
    from sweeplora.rundir.record import read_result

    files = []
    for run in (first, second):
        result = read_result(run)
        if result is None or result.weights is None or not (run.path / result.weights).is_file():
            return []
        files.append(run.path / result.weights)
    if files[0].suffix != ".safetensors" or files[1].suffix != ".safetensors":
        return []
    from sweeplora.tensors.difference import largest_difference

    gap = largest_difference(*files)
    return [f"largest difference of the last weights: {gap.size:.3g} in {gap.name}"] if gap else []


def _differing(record: TrialRecord, second: RunDir, sides: tuple[Side, Side]) -> list[str]:
    """What is known to differ between two runs of one configuration: threads, data, contents, code, environment."""
    from sweeplora.record.sessions import code_diff, environment_diff
    from sweeplora.report.diff import data_diff, identity_diff, shown_data, shown_pairs
    from sweeplora.rundir.record import read_trial

    recorded, (then, now) = read_trial(second), sides
    assert recorded is not None, "it was just trained"
    lines = shown_pairs(identity_diff(record, recorded))
    if then.listing and now.listing:
        lines += shown_data(data_diff((then.config, then.listing), (now.config, now.listing)))
    sessions = then.session, now.session
    if all(session.facts for session in sessions):
        lines += shown_pairs(environment_diff(*sessions))
        code = code_diff(*sessions)
        lines += [f"file of the workspace: {path}" for path in code["files"]]
        lines += [f"{label}: {line}" for label, said in code["repositories"].items() for line in said]
    return lines


def _changes(then: Side, now: Side, second: RunDir, changed: Mapping[str, Sequence[Any]]) -> list[str]:
    from sweeplora.report.diff import result_diff, shown_pairs
    from sweeplora.report.words import near

    return [
        *(f"changed: {line}" for line in shown_pairs(changed)),
        *(f"result: {line}" for line in shown_pairs(result_diff(then.results, now.results))),
        f"run: {near(second.path)}",
    ]


def _is_comparison(file: Path) -> bool:
    """Whether a file is an earlier rerun's comparison."""
    from sweeplora.rundir.files import read_json

    return {"identical", "parts_at", "differing"} <= set(read_json(file) or {})


def _as_data(second: RunDir, repeat: Repeat, differing: Sequence[str]) -> dict[str, Any]:
    parting = repeat.parting
    return {
        "identical": repeat.identical,
        "steps": repeat.steps,
        "parts_at": None if parting is None else {**vars(parting), "size": parting.size},
        "largest": dict(repeat.largest),
        "weights": [repeat.weights_then, repeat.weights_now],
        "differing": list(differing),
        "run": str(second.path),
    }
