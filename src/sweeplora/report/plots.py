"""Which pictures a study deserves, drawn once at its end."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from sweeplora.report.figures import Mark, explained, front, heat_map, history, importances, slices
from sweeplora.rundir.files import write_whole

_ENOUGH_FOR_IMPORTANCE = 8
_MOST_CELLS_A_SIDE = 12
_MOST_PANELS = 6
_DPI = 110


def draw_plots(study: Study, objectives: tuple[str, ...], folder: Path) -> list[Path]:
    """Draw what makes sense for the trials there are into `folder`/<name>.png; returns the files."""
    trials = study.get_trials(deepcopy=False)
    complete = [_mark(trial) for trial in trials if trial.state == TrialState.COMPLETE]
    if len(complete) < 2:
        return []
    if len(objectives) > 1:
        figures = {"front": front(complete, (objectives[0], objectives[1]))} if len(objectives) == 2 else {}
    else:
        pruned = [_mark(t) for t in trials if t.state == TrialState.PRUNED and t.intermediate_values]
        figures = _of_one(complete, pruned, objectives[0])
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _of_one(complete: Sequence[Mark], pruned: Sequence[Mark], name: str) -> dict[str, Figure]:
    varying = _varying(complete)
    shared = [key for key in varying if all(key in mark.params for mark in complete)]
    figures = {"history": history([*complete, *pruned], name)}
    if varying:
        figures["slices"] = slices(complete, varying[:_MOST_PANELS], name)
    if len(varying) == 2 and varying == shared and all(_few(complete, key) for key in varying):
        figures["map"] = heat_map(complete, (varying[0], varying[1]), name)
    if len(shared) >= 2 and len(complete) >= _ENOUGH_FOR_IMPORTANCE and len({m.values for m in complete}) > 1:
        figures["importances"] = importances({key: explained(complete, key) for key in shared}, name)
    return figures


def _mark(trial: FrozenTrial) -> Mark:
    if trial.state == TrialState.PRUNED:
        return Mark(trial.number, (trial.intermediate_values[max(trial.intermediate_values)],), trial.params, True)
    return Mark(trial.number, tuple(trial.values), trial.params)


def _varying(marks: Sequence[Mark]) -> list[str]:
    keys = dict.fromkeys(key for mark in marks for key in mark.params)
    return [key for key in keys if len({mark.params[key] for mark in marks if key in mark.params}) > 1]


def _few(marks: Sequence[Mark], key: str) -> bool:
    return len({mark.params[key] for mark in marks}) <= _MOST_CELLS_A_SIDE


def _save(figure: Figure, target: Path) -> Path:
    data = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, dpi=_DPI, format="png")
    write_whole(target, data.getvalue())
    return target
