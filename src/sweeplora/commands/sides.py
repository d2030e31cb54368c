"""The sides of a comparison: a run, a weights file, or the present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.errors import Problems, UserError

if TYPE_CHECKING:
    from sweeplora.record.sessions import Session
    from sweeplora.rundir.folder import RunDir

PRESENT = "now"


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


def run_side(run: RunDir) -> Side:
    """A run folder as one side. Raises UserError if its configuration cannot be read."""
    import yaml

    from sweeplora.record.sessions import session_of_run
    from sweeplora.report.repeat import is_computed
    from sweeplora.rundir.files import read_json
    from sweeplora.rundir.metrics import read_metrics
    from sweeplora.rundir.plain_record import read_plain_trial
    from sweeplora.rundir.resolved import is_resolved

    try:
        config = yaml.safe_load(run.config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    if not is_resolved(config):
        raise UserError("RUN", run.path, "its config.yaml is missing or damaged")
    series = read_metrics(run.metrics)
    return Side(
        label=f"{run.path.parent.name}/{run.path.name}",
        config=config,
        listing=read_json(run.path / "dataset.json") or {},
        session=session_of_run(run),
        results={key: list(steps.values())[-1] for key, steps in series.items() if is_computed(key)},
        identity=read_plain_trial(run.trial) or {},
    )


def side_of(runs: Path, name: str) -> Side:
    """A run, or a weights file: its run, or its metadata alone if that is not here."""
    from sweeplora.record.sessions import Session
    from sweeplora.report.find import find_run
    from sweeplora.report.origin import origin_of
    from sweeplora.rundir.folder import RunDir
    from sweeplora.rundir.places import refuse_unreachable

    refuse_unreachable("RUN", name)
    if not Path(name).is_file():
        return run_side(find_run(runs, name))
    origin = origin_of(Path(name), runs)
    if not origin.folders:
        if not origin.metadata:
            raise UserError("RUN", name, "no run here wrote this file, and it says nothing itself")
        note = f"{name}: its run is not here; only its metadata is compared"
        return Side(name, {}, {}, Session(), metadata=origin.metadata, notes=(note,))
    return replace(run_side(RunDir(origin.folders[0])), label=name, metadata=origin.metadata)


def present(runs: Path, name: str, scratch: Path) -> Side:
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
    return Side(PRESENT, config, listing, session_of_now(config, runs, scratch), identity=code, notes=tuple(notes))


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
    identity = identify(config, model.model, dataset, draws=bool(prompts))
    return {"files": manifest(dataset)}, {"contents": identity.contents, "code": identity.code}
