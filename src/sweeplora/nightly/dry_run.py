"""What a night would train and compare with what, told without training anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeplora.experiment import Configuration
from sweeplora.nightly.baseline import Baseline, find_baseline, read_baselines
from sweeplora.nightly.key import key_of
from sweeplora.nightly.plan import plan_night
from sweeplora.nightly.settings import Nightly
from sweeplora.nightly.surroundings import surroundings_of
from sweeplora.sweep.preloading import launcher_of
from sweeplora.sweep.question import Check, Compose, Composer
from sweeplora.sweep.search.grammar import split_command_line


def foretell_night(
    words: Sequence[str], configuration: Configuration, settings: Nightly, ways: tuple[Compose, Check]
) -> Iterator[str]:
    """A line for each configuration: its steps, seeds, and baseline and its code."""
    plain, _ = split_command_line(words)
    plan = plan_night(settings, Composer(plain, *ways), configuration.config["seed"])
    baselines = read_baselines(Path(settings.baseline))
    trained = len(plan.configured) * settings.seeds
    yield f"a night of {trained} trainings: {len(plan.configured)} configurations with {settings.seeds} seeds"
    for one in plan.configured:
        slot = launcher_of(one.experiment.config).plan(trained).slots[0]
        device = surroundings_of(slot, one.experiment.code).device
        key = key_of(one.name, (*plain, *one.words), one.experiment.contents, device)
        found, missing = find_baseline(baselines, key)
        against = f"NO_BASELINE: {missing}" if found is None else _told(found, one.experiment.code["source"])
        yield f"{one.name}: {one.experiment.steps} steps, {' '.join(one.words) or 'as it is'}; {against}"
    for left in plan.left_out:
        yield f"{left.name} is left out: {left.reason}"


def _told(baseline: Baseline, source: str) -> str:
    """Which file, and whether its canary may ask for the same bits: not if other code trained it."""
    commit = baseline.accepted.commit[:10]
    of_now = baseline.evidence.source == source
    code = "by the code of now" if of_now else f"by the training's code of {commit}, which is another one now"
    return f"against {baseline.file_name}, trained {baseline.accepted.when[:10]} {code}"
