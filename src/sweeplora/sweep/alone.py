"""What only a study has a use for, in words and in values: refused where one training runs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Experiment
from sweeplora.overrides import parse, written_value
from sweeplora.sweep.comparing import refuse_for_a_single_run
from sweeplora.sweep.question import Check, Compose, Composer
from sweeplora.sweep.search.searchers import prunes

WITHOUT_A_STUDY: Mapping[str, object] = {
    "name": None,
    "trials": None,
    "replicates": 1,
    "confirm.top": 0,
    "confirm.seeds": 5,
    "confirm.by": None,
    "confirm.split": False,
    "constraints": [],
    "enqueue": [],
    "warm_start": None,
    "extend": False,
}
"""Keys of conf/config.yaml's `sweep` that a single run has no use for, with their values there. `batch` is refused
with the objective that it belongs to."""

_NOTHING_TO_SEARCH = "there is nothing to search; add +sweep=…, or name a space such as 'network.dim=choice(4,8)'"
_ONE_SEED = "there is nothing to search, and a single run has one seed; add +sweep=…, or name a space"


def refuse_sweep(config: Mapping[str, Any], words: Sequence[str]) -> None:
    """Raise UserError for everything that a single run's configuration, or its command line, asks of a study alone."""
    problems, sweep = Problems(), config["sweep"]
    for key, value in _flat(sweep):
        if key in WITHOUT_A_STUDY and value != WITHOUT_A_STUDY[key]:
            mend = _ONE_SEED if key.startswith(("replicates", "confirm")) else _NOTHING_TO_SEARCH
            problems.add(UserError(f"sweep.{key}", value, mend))
        elif key.startswith("confirm") and key not in WITHOUT_A_STUDY:
            problems.add(UserError(f"sweep.{key}", value, _ONE_SEED))
    problems.attempt((), lambda: refuse_for_a_single_run(sweep))
    searching = [word for word in words if not parse(word).key_or_group.startswith("sweep")]
    problems.attempt((), lambda: refuse_words(config, searching, _NOTHING_TO_SEARCH))
    problems.refuse()


def refuse_words(config: Mapping[str, Any], words: Sequence[str], mend: str) -> None:
    """Raise UserError for the words that are about a study's search."""
    problems = Problems()
    kept = without_the_search(config, words)
    for word in words:
        override = parse(word)
        if word not in kept and override.key_or_group.partition(".")[::2] != ("sweep", "space"):
            problems.add(UserError(override.key_or_group, written_value(override), mend))
    problems.refuse()


def without_the_search(config: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """A study's words less those about its search: what is left, with a proposal, trains that trial alone.

    A pruner that stops no trial is kept: pruner=patient is a setting of the training.
    """
    stops = prunes(config["pruner"])
    return [word for word in words if not _is_about_the_search(parse(word).key_or_group, stops)]


def experiment_of(point: Sequence[str], plain: Sequence[str], compose: Compose, check: Check) -> Experiment:
    """The experiment of a trial whose proposal, `point`, is on the command line: nothing is left to search.

    Raises UserError for words about a study.
    """
    told = f"every key of the sweep has one value ({' '.join(point)})"
    composer = Composer([word for word in plain if word not in point], compose, check)
    refuse_words(composer.configured(point), plain, f"{told}: this is one training and no study; leave it out")
    experiment = composer.experiment(point)
    refuse_for_a_single_run(experiment.config["sweep"])
    return replace(experiment, notices=(f"{told}: one training, no study", *experiment.notices))


def _is_about_the_search(key: str, stops: bool) -> bool:
    group, _, below = key.partition(".")
    if group == "pruner":
        return stops
    return group == "search" or (group == "sweep" and below not in ("", "objective"))


def _flat(sweep: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values of a `sweep` group, those of `confirm` each by its own name."""
    for key, value in sweep.items():
        if key == "confirm" and isinstance(value, Mapping):
            yield from ((f"confirm.{name}", inner) for name, inner in value.items())
        else:
            yield key, value
