"""A study's question: its space, objectives and number of trials, from the composed config and the command line."""

from __future__ import annotations

import functools
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Configuration, Experiment, NotComposed
from sweeplora.rundir.record import STUDY
from sweeplora.rundir.signature import is_unsigned, teaches_nothing
from sweeplora.sweep.comparing import read_batch
from sweeplora.sweep.precision import check_precision
from sweeplora.sweep.replicates import ReplicateRules, read_replicate_rules
from sweeplora.sweep.search.facts import KEY as FACTS
from sweeplora.sweep.search.facts import facts_of, refuse_question
from sweeplora.sweep.search.facts import notices as search_notices
from sweeplora.sweep.search.grammar import on_command_line, parse_space
from sweeplora.sweep.search.known_points import Point, read_points
from sweeplora.sweep.search.proposals import Proposal, every_choice
from sweeplora.sweep.search.rules import Rules, drawn, read_constraints
from sweeplora.sweep.search.rungs import rungs_of
from sweeplora.sweep.search.searchers import num_points
from sweeplora.sweep.search.space import Space, all_keys
from sweeplora.sweep.stopping import check_pruner
from sweeplora.sweep.stopping import notices as pruner_notices
from sweeplora.sweep.warm_start import Given, Here, read_warm_start

CHECKED_AHEAD = 24
"""Proposals that are composed and checked before the first trial: half a second's work. Few spaces need more."""

_COST_OF_FILES = 4
"""A proposal with other files of conf/ than those before counts as so many: their composition takes longer."""

_REMEMBERED = 256
"""Experiments that a composer keeps: those of a space's covers, which a study proposes again."""

_MEASURES = (
    "data.val_dir",
    "data.val_split",
    "data.validation_seed",
    "train.validation_images",
    "train.validation_timesteps",
)
"""Keys that decide on which images, at which noise levels and with which noise a trial is scored."""

_RESERVED = ("single", "cache", "artifacts", "workspaces")


Check = Callable[[Configuration], Experiment]
"""Refuses what cannot work in a configuration, or says what experiment it is."""


class Compose(Protocol):
    """Composes the words of a command line plus a study's proposal."""

    def __call__(self, overrides: Sequence[str], proposed: Sequence[str] = ()) -> Configuration: ...


class Composer:
    """Composes and checks overrides on top of the command line's; the latest combinations only once."""

    def __init__(
        self,
        base: Sequence[str],
        compose: Compose,
        check: Check,
    ) -> None:
        self.base = tuple(base)
        self._compose = compose
        self._check = check
        self._known: OrderedDict[tuple[str, ...], Experiment] = OrderedDict()

    def experiment(self, overrides: Sequence[str]) -> Experiment:
        """The experiment with these overrides. Raises UserError with everything that is wrong with it."""
        wanted = tuple(overrides)
        if wanted not in self._known:
            self._known[wanted] = self._checked(wanted)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return self._known[wanted]

    def configured(self, overrides: Sequence[str]) -> Mapping[str, Any]:
        """The configuration with these overrides, composed but not checked; words that do not compose are left out."""
        try:
            return self._compose(self.base, tuple(overrides)).config
        except NotComposed as error:
            return error.rest.config

    def _checked(self, wanted: Sequence[str]) -> Experiment:
        problems = Problems()
        try:
            configuration = self._compose(self.base, wanted)
        except NotComposed as error:
            problems.add(error)
            configuration = error.rest
        experiment = problems.attempt((), lambda: self._check(configuration))
        problems.refuse()
        assert experiment is not None
        return experiment


@dataclass(frozen=True)
class Question:
    """What a study asks, before it runs."""

    name: str
    space: Space
    objectives: tuple[str, ...]
    trials: int
    configuration: Configuration
    identity: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    unchecked: tuple[tuple[str, ...], ...] = ()
    """Choices of a very wide space that are still to be composed and checked, while the first trials run."""
    points: tuple[Point, ...] = ()
    """Tried first, in this order."""
    constraints: Rules | None = None
    given: tuple[Given, ...] = ()
    """Trials of another study that the search learns from (sweep.warm_start)."""
    replication: ReplicateRules = field(default_factory=ReplicateRules)
    batch: int | None = None
    """How many trials are trained between a person's comparisons; None where the objective is measured."""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that every trial starts from."""
        return self.configuration.config

    def most_at_once(self, open_trials: int) -> int:
        """How many trainings could run at once with so many trials to come; with rungs, others may go on."""
        trials = self.trials if rungs_of(self.config["pruner"]) is not None else open_trials
        return max(1, trials * self.replication.replicates, self.replication.top)


def read_question(configuration: Configuration, composer: Composer, swept: Space) -> Question:
    """Read the study from a configuration and check the choices of its space before anything starts.

    Of a space with very many choices the first ones are checked; `unchecked` names the others.

    Raises UserError with everything that is wrong in the space and in the configurations it can propose.
    """
    problems = Problems()
    sweep, search = configuration.config["sweep"], configuration.config["search"]
    space = problems.attempt((), lambda: _space(sweep["space"], composer.base, swept)) or Space()
    constraints = problems.attempt((), lambda: read_constraints(sweep["constraints"] or (), space, composer.configured))
    constraints = constraints or Rules((), space, composer.configured)
    choices = covering(space, constraints)
    ahead = _num_ahead(choices)
    covers = _covers(choices[:ahead], composer, problems)
    objectives = problems.attempt((), lambda: _objectives(sweep["objective"])) or ()
    experiments, pruner = [one for _, one in covers], configuration.config["pruner"]
    problems.attempt(("sweep",), lambda: _check_objectives(objectives, covers))
    problems.attempt(("sweep", "pruner", "train"), lambda: check_pruner(pruner, objectives, experiments))
    problems.attempt((), lambda: check_precision([one.config for one in experiments], set(all_keys(space))))
    problems.attempt((), lambda: refuse_question(search, space, len(objectives), bool(constraints)))
    trials = problems.attempt(("sweep", "search"), lambda: _trials(sweep["trials"], search, space, constraints))
    points = problems.attempt((), lambda: read_points(sweep["enqueue"] or (), space, constraints)) or ()
    problems.attempt((), lambda: _refuse_too_many(points, trials))
    name = problems.attempt((), lambda: _name(sweep["name"], space))
    here = Here(space, constraints, objectives)
    given = problems.attempt(("sweep",), lambda: _given(configuration.config, name, here, covers)) or ((), ())
    replication = problems.attempt(
        ("sweep",), lambda: _replication(configuration.config, objectives, space, composer.base)
    )
    if replication is not None and covers:
        last = functools.partial(_check_last_repetition, replication, composer, covers[0])
        problems.attempt(("seed", "data"), last)
    batch = problems.attempt(
        ("sweep", "search", "sample", "pruner"),
        lambda: read_batch(configuration.config, objectives, list(all_keys(space))),
    )
    problems.refuse()
    assert trials is not None and name is not None and replication is not None
    question = Question(
        name=name,
        space=space,
        objectives=objectives,
        trials=trials,
        configuration=configuration,
        identity={},
        unchecked=tuple(choices[ahead:]),
        points=points,
        constraints=constraints,
        given=given[0],
        replication=replication,
        batch=batch,
    )
    notices = (*given[1], *_notices(question, covers))
    return replace(question, identity=_identity(question, *covers[0]), notices=notices)


def _identity(question: Question, words: Sequence[str], first: Experiment) -> dict[str, Any]:
    """What a continued study has to ask as well; `first` is the experiment of its first `words`."""
    config = question.config
    return {
        "space": question.space.described(),
        "objective": list(question.objectives),
        "search": {key: value for key, value in config["search"].items() if key != FACTS},
        "first": list(words),
        "signature": first.signature,
        "constraints": list(question.constraints.texts) if question.constraints is not None else [],
        "enqueue": [dict(point) for point in question.points],
        "warm_start": config["sweep"]["warm_start"],
        "replicates": question.replication.replicates,
        "confirm": question.replication.confirmation,
        "pruner": config["pruner"],
        "config": {key: value for key, value in first.config.items() if not is_unsigned(key)},
    }


def _notices(question: Question, covers: Sequence[tuple[tuple[str, ...], Experiment]]) -> tuple[str, ...]:
    """What deserves attention, each line once: of the question, of its experiments, of the search."""
    sweep, given = question.config["sweep"], question.given
    told = [f"{len(given)} trials of {sweep['warm_start']} are given to the search, as the first numbers"]
    lines = told if given else []
    lines += [line for _, one in covers for line in one.notices]
    lines += search_notices(question.config["search"], question.trials)
    lines += pruner_notices(question.config["pruner"], question.trials)
    by = sweep["confirm"].get("by")
    if question.replication.top and question.replication.by is None and by is not None:
        lines.append(f"sweep.confirm.by={by} has one value here: the best few are confirmed as they are")
    return tuple(dict.fromkeys(lines))


def _given(
    config: Mapping[str, Any],
    study: str | None,
    here: Here,
    covers: Sequence[tuple[tuple[str, ...], Experiment]],
) -> tuple[tuple[Given, ...], tuple[str, ...]]:
    """The trials of `sweep.warm_start`, and a notice where `study`, which has begun, keeps those that it was given."""
    name, runs = config["sweep"]["warm_start"], Path(config["runs"])
    if name is None or not covers:
        return (), ()
    if not isinstance(name, str) or not name:
        raise UserError("sweep.warm_start", name, "give the name of one finished study, or null")
    if not facts_of(config["search"]).learns:
        search = str(config["search"]["_target_"]).rpartition(".")[2]
        raise UserError("sweep.warm_start", name, f"{search} learns from no trial; leave it out, or use search=tpe")
    try:
        return read_warm_start(runs, name, here, covers[0][1]), ()
    except UserError as error:
        if study is None or not (runs / study / STUDY).exists():
            raise
        return (), (f"{error}: the search keeps what it was given when this study began",)


def _replication(
    config: Mapping[str, Any], objectives: Sequence[str], space: Space, words: Sequence[str]
) -> ReplicateRules:
    """How trials are repeated; a key of `by` that the command line fixed is left out."""
    sweep, keys = config["sweep"], list(all_keys(space))
    confirm = sweep["confirm"]
    by = confirm.get("by") if isinstance(confirm, Mapping) else None
    if isinstance(by, str) and by not in keys and _has(config, by):
        sweep = {**sweep, "confirm": {**confirm, "by": None}}
    return read_replicate_rules(sweep, objectives, keys, words)


def _check_last_repetition(
    rules: ReplicateRules, composer: Composer, cover: tuple[tuple[str, ...], Experiment]
) -> None:
    """Compose and check the repetition with the highest seed; no other one can be refused where it is not."""
    if rules.repetitions == 0:
        return
    words, experiment = cover
    again = rules.words(experiment.config, rules.repetitions)
    try:
        composer.experiment((*words, *again))
    except UserError as error:
        key, value = ("confirm.seeds", rules.seeds) if rules.top else ("replicates", rules.replicates)
        raise UserError(
            f"sweep.{key}", value, f"trains with {' '.join(again)} too, which is refused: {error}"
        ) from None


def _has(config: Mapping[str, Any], dotted: str) -> bool:
    """Whether a configuration has a key."""
    node: Any = config
    for part in dotted.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _space(written: Mapping[str, Any] | None, base: Sequence[str], swept: Space) -> Space:
    space = on_command_line(parse_space(written or {}), base, swept)
    if not space:
        raise UserError("sweep.space", "{}", "nothing is left to search; name keys, e.g. 'network.dim=choice(4,8)'")
    for key in all_keys(space):
        if key == "seed":
            mend = "a seed is no setting: the best of several is luck; sweep.replicates=3 trains every point with three"
            raise UserError("sweep.space.seed", "searched", mend)
        if key in _MEASURES:
            mend = "changes what the objective is measured on, so that trials could not be compared; give it one value"
            raise UserError(f"sweep.space.{key}", "searched", mend)
        if teaches_nothing(key):
            mend = "changes how a trial runs, not what it learns; give it one value outside of the space"
            raise UserError(f"sweep.space.{key}", "searched", mend)
    return space


def _num_ahead(choices: Sequence[tuple[str, ...]]) -> int:
    """How many of the choices are checked before the first trial."""
    left = CHECKED_AHEAD + _COST_OF_FILES - 1
    known: set[tuple[str, ...]] = set()
    for number, words in enumerate(choices):
        files = tuple(word for word in words if "." not in word.partition("=")[0])
        left -= 1 if files in known else _COST_OF_FILES
        known.add(files)
        if left < 0:
            return number
    return len(choices)


def _covers(
    choices: Sequence[tuple[str, ...]], composer: Composer, problems: Problems
) -> list[tuple[tuple[str, ...], Experiment]]:
    """The proposals, each with its experiment; refusals go to `problems`."""
    found = []
    for words in choices:
        experiment = problems.attempt((), functools.partial(composer.experiment, words))
        if experiment is not None:
            found.append((words, experiment))
    return found


def _check_objectives(objectives: Sequence[str], covers: Sequence[tuple[tuple[str, ...], Experiment]]) -> None:
    blind = next((words for words, one in covers if not one.validates), None)
    if blind is not None and any(objective.startswith("val/") for objective in objectives):
        where = f" with {' '.join(blind)}" if blind else ""
        mend = f"no image is held out{where}; give data.val_split=0.1"
        raise UserError("sweep.objective", ", ".join(objectives), mend)


def _objectives(written: object) -> tuple[str, ...]:
    named = [written] if isinstance(written, str) else written
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise UserError("sweep.objective", written, "give a metric, e.g. val/loss, or a list of metrics")
    return tuple(named)


def covering(space: Space, rules: Rules) -> list[tuple[str, ...]]:
    """Proposals that cover every choice, less those that break a constraint and are never trained."""
    choices = every_choice(space)
    if not rules:
        return choices
    allowed = [words for words in choices if rules.allowed(Proposal(words, {}))]
    return allowed or [next(drawn(space, rules, random.Random(0))).overrides]


def _refuse_too_many(points: Sequence[Point], trials: int | None) -> None:
    if trials is not None and len(points) > trials:
        raise UserError("sweep.enqueue", f"{len(points)} points", f"sweep.trials={trials} leaves no room for them")


def _trials(written: object, search: Mapping[str, Any], space: Space, rules: Rules) -> int:
    size = num_points(search, space, rules)
    if written is None and size is not None:
        return size
    if isinstance(written, bool) or not isinstance(written, int) or written < 1:
        raise UserError("sweep.trials", written, "give a number of trials, e.g. sweep.trials=20, or search=grid")
    if size is not None and written > size:
        raise UserError("sweep.trials", written, f"the space has {size} points; give at most that")
    return written


def _name(written: object, space: Space) -> str:
    lasts = dict.fromkeys(key.rpartition(".")[2] for key in all_keys(space))
    name = "_".join(lasts) if written is None else str(written)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in _RESERVED or name.endswith(".db"):
        raise UserError("sweep.name", name, "give a folder's name of letters, digits, '-', '_' and '.'")
    return name
