"""Baselines for people: a table of all, one with its history, and what differs from a night or from another file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweeplora.errors import UserError
from sweeplora.nightly.baseline import Accepted, Baseline, find_baseline, means_of, read_baseline, read_baselines
from sweeplora.nightly.canary import distance, first_difference
from sweeplora.nightly.evidence import Evidence
from sweeplora.nightly.folder import NightFolder, nights
from sweeplora.nightly.quality import OBJECTIVE, spread
from sweeplora.nightly.settings import FEWEST_SEEDS
from sweeplora.nightly.sides import read_sides
from sweeplora.nightly.surroundings import Surroundings, changes
from sweeplora.report.find import find_folder


@dataclass(frozen=True)
class _Half:
    """One side of a comparison."""

    label: str
    surroundings: Surroundings
    config: dict[str, str]
    evidence: Evidence


def overview(baselines: Sequence[Baseline]) -> list[str]:
    """A line for each baseline under a heading."""
    header = ("configuration", "device", OBJECTIVE, "spread of A/A", "seeds", "accepted", "by", "commit", "reason")
    rows = [header, *(_row(one) for one in baselines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(one: Baseline) -> tuple[str, ...]:
    accepted = one.accepted
    return (
        one.key.configuration,
        one.key.device,
        f"{accepted.means[OBJECTIVE]:.5g}",
        f"{100 * _spread(one):.2g} %",
        str(len(one.seeds)),
        accepted.when[:10],
        accepted.by,
        accepted.commit[:10],
        accepted.reason,
    )


def _spread(one: Baseline) -> float:
    means = [float(np.log(values[OBJECTIVE].mean())) for values in one.seeds.values()]
    return spread(means, FEWEST_SEEDS)


def whole(one: Baseline) -> Iterator[str]:
    """One baseline: its key, what it was made on, its metrics, and every acceptance, newest first."""
    yield one.file_name
    yield f"  question {one.key.question}, model {one.key.model}, data {one.key.data}, device {one.key.device}"
    yield f"  {', '.join(f'{name} {value}' for name, value in sorted(one.surroundings.machine.items()))}"
    yield f"  {', '.join(f'{name} {value}' for name, value in sorted(one.surroundings.versions.items()))}"
    yield f"  spread of A/A of {OBJECTIVE}: {100 * _spread(one):.2g} % ({FEWEST_SEEDS} seeds against {FEWEST_SEEDS})"
    for accepted in (one.accepted, *one.previous):
        yield from _acceptance(accepted)


def _acceptance(accepted: Accepted) -> Iterator[str]:
    commit = accepted.commit or "unknown"
    yield f"  {accepted.when} by {accepted.by}, commit {commit}, {accepted.study}: {accepted.reason}"
    yield f"    {', '.join(f'{metric} {value:.5g}' for metric, value in sorted(accepted.means.items()))}"


def diff_files(files: Sequence[Path], folder: Path) -> tuple[list[str], bool]:
    """What differs between two files, or between one and the baseline with its key in the folder."""
    if len(files) > 2:
        raise UserError("baseline diff", files[2], "one or two files")
    *first, second = [read_baseline(file) for file in files]
    if first:
        return _told(_half(str(files[0]), first[0]), _half(str(files[1]), second))
    found, missing = find_baseline(read_baselines(folder), second.key)
    if found is None:
        raise UserError("baseline diff", files[0], missing)
    return _told(_half(found.file_name, found), _half(str(files[0]), second))


def diff_night(runs: Path, name: str | None, folder: Path) -> tuple[list[str], bool]:
    """What differs between the baselines and a night, the newest without a name."""
    if name is not None:
        night = NightFolder(find_folder(runs, name))
    else:
        night = next(reversed(nights(runs)), NightFolder(Path()))
        if night.path == Path():
            raise UserError("baseline diff", runs, "there is no night yet; +sweep=nightly trains one")
    baselines, lines, differs = read_baselines(folder), [], False
    for side in read_sides(night).values():
        found, missing = find_baseline(baselines, side.key)
        if found is None:
            lines += [f"{side.key.configuration}: {missing}", ""]
            differs = True
            continue
        here = _Half(night.path.name, side.surroundings, dict(side.config), side.evidence)
        told, is_other = _told(_half(found.file_name, found), here)
        lines += [*told, ""]
        differs = differs or is_other
    return lines[:-1], differs


def _half(label: str, one: Baseline) -> _Half:
    return _Half(label, one.surroundings, dict(one.config), one.evidence)


def _told(before: _Half, after: _Half) -> tuple[list[str], bool]:
    """The lines of one comparison, and whether any number differs."""
    lines = [f"{before.label} -> {after.label}"]
    if before.evidence.source != after.evidence.source:
        lines.append(f"  code: {before.surroundings.commit[:10]} -> {after.surroundings.commit[:10]}")
    lines += [f"  settings: {told}" for told in changes(before.config, after.config)]
    lines += [f"  versions: {told}" for told in changes(before.surroundings.versions, after.surroundings.versions)]
    lines += [f"  machine: {told}" for told in changes(before.surroundings.machine, after.surroundings.machine)]
    numbers = list(_numbers(before.evidence, after.evidence))
    return [*lines, *numbers] if numbers else [*lines, "  losses: the same to the last bit"], bool(numbers)


def _numbers(before: Evidence, after: Evidence) -> Iterator[str]:
    """Metrics whose mean over the shared seeds moved, and the canary."""
    shared = sorted(before.seeds.keys() & after.seeds.keys())
    old = means_of({seed: before.seeds[seed] for seed in shared})
    new = means_of({seed: after.seeds[seed] for seed in shared})
    for metric in sorted({*old, *new}):
        if old.get(metric) != new.get(metric):
            one, other = old.get(metric), new.get(metric)
            moved = f" ({100 * (other / one - 1):+.2f} %)" if one and other else ""
            yield f"  {metric}: {_number(one)} -> {_number(other)}{moved}, {len(shared)} seeds"
    step = first_difference(before.course, after.course)
    if step is not None:
        apart = distance(before.course, after.course)
        yield f"  canary: from step {step} on, {100 * apart:.2g} % on average"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
