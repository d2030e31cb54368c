"""Say what differs between two runs, or a run and the present: configuration, code, data, environment, results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.place import split_runs
from sweeplora.errors import Problems, UserError

if TYPE_CHECKING:
    from sweeplora.record.sessions import Session
    from sweeplora.rundir.folder import RunDir

_EXAMPLE = "python -m sweeplora diff rank_alpha/3 rank_alpha/7"
_PRESENT = "now"


@dataclass(frozen=True)
class Side:
    """One side of a comparison. `results` are the last values of its metrics; `metadata` that of a weights file."""

    label: str
    config: Mapping[str, Any]
    listing: Mapping[str, Any]
    session: Session
    results: Mapping[str, float] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def signed(self) -> dict[str, Any]:
        """The part of the configuration that makes the result."""
        from sweeplora.rundir.signature import UNSIGNED

        return {key: value for key, value in self.config.items() if key not in UNSIGNED}


def main(words: list[str]) -> int:
    """Print what differs; returns 0 if nothing does, else 1, as diff does."""
    parser = Parser("diff", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, each value as [first, second]")
    parser.add_argument("words", nargs="+", metavar="RUN", help="one or two runs, trials or files; runs=FOLDER")
    asked = parser.parse(words)
    runs, names = split_runs(asked.words)
    if not 0 < len(names) < 3:
        parser.error("give one or two runs")
    first = _side(runs, names[0])
    if len(names) == 2 and names[1] != _PRESENT:
        second = _side(runs, names[1])
        told = _compared(first, second)
    else:
        with tempfile.TemporaryDirectory(prefix="sweeplora-") as scratch:
            second = _present(runs, names[0], Path(scratch))
            told = _compared(first, second)
    print(json.dumps(told, indent=1) if asked.json else "\n".join(_shown(told)))
    return 1 if any(told[part] for part in ("config", "code", "data", "environment", "results")) else 0


def run_side(run: RunDir) -> Side:
    """A run folder as one side. Raises UserError if its configuration cannot be read."""
    import yaml

    from sweeplora.record.sessions import session_of_run
    from sweeplora.rundir.files import read_json, read_sealed
    from sweeplora.rundir.metrics import read_metrics

    try:
        config = yaml.safe_load(run.config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        raise UserError("RUN", run.path, "its config.yaml is missing or damaged") from None
    series = read_metrics(run.metrics)
    return Side(
        label=f"{run.path.parent.name}/{run.path.name}",
        config=config,
        listing=read_json(run.path / "dataset.json") or {},
        session=session_of_run(run),
        results={key: list(steps.values())[-1] for key, steps in series.items()},
        identity=read_sealed(run.trial) or {},
    )


def _side(runs: Path, name: str) -> Side:
    """A run, or a weights file: its run, or its metadata alone if that is not here."""
    from dataclasses import replace

    from sweeplora.record.sessions import Session
    from sweeplora.report.find import find_run
    from sweeplora.report.origin import origin_of
    from sweeplora.rundir.folder import RunDir

    if not Path(name).is_file():
        return run_side(find_run(runs, name))
    origin = origin_of(Path(name), runs)
    if not origin.folders:
        if not origin.metadata:
            raise UserError("RUN", name, "no run here wrote this file, and it says nothing itself")
        note = f"{name}: its run is not here; only its metadata is compared"
        return Side(name, {}, {}, Session(), metadata=origin.metadata, notes=(note,))
    return replace(run_side(RunDir(origin.folders[0])), label=name, metadata=origin.metadata)


def _present(runs: Path, name: str, scratch: Path) -> Side:
    """What the same command would run now: configuration composed again, data read again, this environment."""
    from sweeplora.config.compose import compose
    from sweeplora.record.sessions import session_of_now
    from sweeplora.report.find import find_run
    from sweeplora.rundir.record import read_trial

    run = find_run(runs, name)
    record, notes = read_trial(run), list[str]()
    config: Mapping[str, Any] = run_side(run).config
    words = record.overrides if record is not None else ()
    proposed = record.proposed if record is not None else ()
    try:
        config = compose(words[: len(words) - len(proposed)], proposed).config
    except UserError as error:
        notes.append(f"its command composes no more ({error}); the recorded configuration is used")
    listing, code = _read_now(config, notes)
    return Side(_PRESENT, config, listing, session_of_now(config, runs, scratch), identity=code, notes=tuple(notes))


def _read_now(config: Mapping[str, Any], notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The images that the configuration names now, and what its signature would be made from."""
    from sweeplora.check.identity import identify
    from sweeplora.check.images import note_dataset
    from sweeplora.check.model import note_model
    from sweeplora.check.previews import note_previews
    from sweeplora.check.shape import frozen
    from sweeplora.data.dataset import manifest

    problems, groups = Problems(), frozen(config)
    model = note_model(groups, problems)
    dataset = note_dataset(groups, model, problems)
    prompts = note_previews(groups["sample"], model, dataset, problems)
    try:
        problems.refuse()
    except UserError as error:
        notes.append(f"it could not run now: {error}")
    if dataset is None or model is None:
        return {}, {}
    identity = identify(groups, model.model, dataset, draws=bool(prompts))
    return {"files": manifest(dataset)}, {"contents": identity.contents, "code": identity.code}


def _compared(first: Side, second: Side) -> dict[str, Any]:
    from sweeplora.record.sessions import code_diff, environment_diff
    from sweeplora.report.diff import config_diff, data_diff, result_diff

    code = code_diff(first.session, second.session)
    sources = [(side.identity.get("code") or {}).get("source") for side in (first, second)]
    if all(sources) and sources[0] != sources[1]:
        code["training"] = sources
    if first.config and second.config:
        config, metadata = config_diff(first.signed, second.signed), {}
    else:
        config, metadata = config_diff(first.metadata, second.metadata), {"compared": "metadata"}
    known = first.listing and second.listing
    data = data_diff((first.config, first.listing), (second.config, second.listing)) if known else None
    recorded = first.session.facts and second.session.facts
    return {
        "first": first.label,
        "second": second.label,
        **metadata,
        "config": config,
        "code": {key: value for key, value in code.items() if value},
        "data": data.as_data() if data else {},
        "environment": environment_diff(first.session, second.session) if recorded else {},
        "results": result_diff(first.results, second.results) if first.results and second.results else {},
        "notes": [*first.notes, *second.notes, *([] if known else ["the data of one of them was not recorded"])],
    }


def _shown(told: Mapping[str, Any]) -> list[str]:
    from sweeplora.report.diff import DataDiff, shown_data, shown_pairs

    code = told["code"]
    lines_of = {
        "config": shown_pairs(told["config"]),
        "code": [
            *(f"{label}: {line}" for label, said in code.get("repositories", {}).items() for line in said),
            *(["the code of the training differs"] if "training" in code else []),
            *(line for text in code.get("files", {}).values() for line in text.splitlines()),
        ],
        "data": shown_data(DataDiff(**told["data"])) if told["data"] else [],
        "environment": shown_pairs(told["environment"]),
        "results": shown_pairs(told["results"]),
    }
    lines = [f"{told['first']} -> {told['second']}", *told["notes"]]
    for part, found in lines_of.items():
        lines += ["", f"{part}: {'no difference' if not found else ''}".rstrip(), *(f"  {line}" for line in found)]
    return lines
