"""Step time and memory of a night's configurations: against another commit in turn, or alone for the baseline file."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.launch.slot import Slot
from sweeplora.nightly.blocks import Blocks, NotMeasured, measure
from sweeplora.nightly.checkouts import Commit, commit_of, package_checkout, worktree
from sweeplora.nightly.composing import compose_folder, sweep_named, training_words
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.ended import of_the_machine
from sweeplora.nightly.environments import NotInstalled, interpreter
from sweeplora.nightly.side import Place, Side, Tree
from sweeplora.nightly.speed import STEP, Measured, from_json, judge, machine_key, to_json
from sweeplora.record.provenance import environment
from sweeplora.record.provenance.ask_git import GitError
from sweeplora.rundir.files import read_sealed, sealed, write_json
from sweeplora.sweep.preloading import launcher_of

KEY = "nightly.against"
FOLDER = "speed"
_TRIES = 2
_FROM_OUTSIDE = ("died", "interrupted", "failed")


@dataclass(frozen=True)
class Asked:
    """What is measured: configurations (name -> words), each on top of the words `base`; `against`: a commit, or alone.

    `can_be_baseline`: what is measured alone may become a baseline's. `study`: the night's folder, where each result is
    kept as soon as it is known; `runs`: that of all runs.
    """

    base: Sequence[str]
    configurations: Mapping[str, Sequence[str]]
    blocks: Blocks
    against: Commit | None
    can_be_baseline: bool
    study: Path
    runs: Path


class Pair(NamedTuple):
    """Two sides' blocks, or those of this one alone; `machine`: what measurements have to share to be comparable."""

    machine: str
    now: Measured
    then: Measured | None = None


def commit_against(ref: str | None) -> Commit | None:
    """The commit of `nightly.against`. Raises UserError if it is none, or this package is in no checkout."""
    if ref is None:
        return None
    return commit_of(package_checkout(KEY, ref), ref, KEY, ref)


def measure_night(
    asked: Asked, say: Callable[[str], None], between: Callable[[], None] = lambda: None
) -> dict[str, Pair | Criterion]:
    """Measure every configuration that this night has not measured yet; a criterion says why one could not be.

    `between` is called after every block, and may raise to end it.
    """
    found: dict[str, Pair | Criterion] = {}
    with ExitStack() as stack:
        trees: list[Tree] | Criterion | None = None
        for name in asked.configurations:
            kept = _kept(asked, name)
            if kept is None and trees is None:
                trees = stack.enter_context(_trees(asked, say))
            found[name] = kept or _measured(asked, name, trees or [], between)
            say(_told(name, found[name]))
    shutil.rmtree(asked.study / FOLDER / "compose", ignore_errors=True)
    return found


def judge_night(
    asked: Asked,
    baselines: Mapping[str, Mapping[str, object]],
    say: Callable[[str], None],
    between: Callable[[], None],
) -> tuple[list[Criterion], tuple[str, ...]]:
    """Measure a night and judge it, against the commit if it names one, else against the `speed` of its baselines.

    Returns the criteria, and a line for what cannot be compared.
    """
    if asked.against is not None:
        return criteria_against(measure_night(asked, say, between), asked.against), ()
    notes = dict(_needless(asked, baselines))
    wanted = {name: words for name, words in asked.configurations.items() if name not in notes}
    criteria, others = criteria_with_baseline(
        measure_night(replace(asked, configurations=wanted), say, between), baselines
    )
    return criteria, (*notes.values(), *others)


def _needless(asked: Asked, baselines: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Configuration -> why it is not measured alone: nothing would be compared with it, now or later."""
    for name, words in asked.configurations.items():
        slot = slot_of([*asked.base, *words])
        machine = machine_key(environment.machine(Path.cwd()), slot)
        if slot.processes > 1:
            yield name, f"{name}: step time and memory of several processes are compared by nightly.against alone"
        elif machine not in baselines.get(name, {}) and not asked.can_be_baseline:
            yield name, _not_compared(name, machine)


def _not_compared(name: str, machine: str) -> str:
    return f"{name}: step time and memory are not compared: no baseline of this machine ({machine})"


def criteria_against(found: Mapping[str, Pair | Criterion], against: Commit) -> list[Criterion]:
    """The criteria of what was measured in turn with another commit."""
    criteria = []
    for name, one in found.items():
        if isinstance(one, Criterion):
            criteria.append(one)
        elif one.then is not None:
            criteria += judge(name, one.then, one.now, against.short, interleaved=True)
    return criteria


def criteria_with_baseline(
    found: Mapping[str, Pair | Criterion], baselines: Mapping[str, Mapping[str, object]]
) -> tuple[list[Criterion], tuple[str, ...]]:
    """The criteria of what was measured alone, and a line for each configuration that cannot be compared.

    `baselines`: configuration -> its baseline's `speed`, machine key -> `to_json`. Another machine's is no baseline; a
    comparison that nobody asked for and that is not possible is no failure either.
    """
    criteria: list[Criterion] = []
    notes: list[str] = []
    for name, one in found.items():
        if isinstance(one, Criterion):
            criteria.append(one)
            continue
        then = from_json(baselines.get(name, {}).get(one.machine))
        if then is None:
            notes.append(_not_compared(name, one.machine))
        else:
            criteria += judge(name, then, one.now, "its baseline", interleaved=False)
    return criteria, tuple(notes)


def speed_of(study: Path, configuration: str) -> dict[str, object]:
    """What a study measured of a configuration as a baseline's `speed`: machine key -> `to_json`; empty if nothing."""
    content = read_sealed(_file(study, configuration))
    return {} if content is None else {content["machine"]: content["now"]}


@contextmanager
def _trees(asked: Asked, say: Callable[[str], None]) -> Iterator[list[Tree] | Criterion]:
    """The source trees to measure: this one, after that of the other commit; a criterion if that cannot be made."""
    if asked.against is None:
        yield [Tree.present()]
        return
    root = package_checkout(KEY, asked.against.short)
    try:
        with worktree(root, asked.against, asked.study / FOLDER / "worktree") as folder:
            try:
                python = interpreter(root, folder, asked.runs / "cache" / "environments", say)
            except NotInstalled as error:
                yield _infra("all", f"the environment of {asked.against.short} could not be installed: {error}")
                return
            yield [Tree(asked.against.short, folder / "src", python), Tree.present()]
    except GitError as error:
        raise UserError(KEY, asked.against.short, f"git cannot check it out: {error}") from error


def _measured(asked: Asked, name: str, trees: list[Tree] | Criterion, between: Callable[[], None]) -> Pair | Criterion:
    """Measure one configuration; what was ended from outside is tried again."""
    if isinstance(trees, Criterion):
        return Criterion(name, STEP, trees.verdict, trees.sentence)
    words, slot = [*asked.base, *asked.configurations[name]], slot_of([*asked.base, *asked.configurations[name]])
    folder = asked.study / FOLDER
    first = compose_folder(folder / "compose", Path.cwd(), sweep_named(words))
    for attempt in range(1, _TRIES + 1):
        try:
            with ExitStack() as stack:
                sides = [stack.enter_context(Side(tree, _place(folder, name, slot, tree))) for tree in trees]
                found = measure(sides, [*first, *training_words(words)], asked.blocks, folder / name, between)
        except NotMeasured as error:
            if attempt == _TRIES or error.answer.status not in _FROM_OUTSIDE:
                return _not_measured(name, error, asked.against, attempt)
        else:
            shutil.rmtree(folder / name, ignore_errors=True)
            pair = Pair(machine_key(environment.machine(Path.cwd()), slot), found[-1], found[0] if found[1:] else None)
            _keep(asked, name, pair)
            return pair
    raise AssertionError("the last attempt returns")


def slot_of(words: Sequence[str]) -> Slot:
    """The place of one training alone on this machine, as the launcher of a command line gives it."""
    return launcher_of(compose(words).config).plan(1).slots[0]


def _place(folder: Path, name: str, slot: Slot, tree: Tree) -> Place:
    return Place(folder / "compose", Path.cwd(), folder / f"{name}-{tree.name}.log", slot)


def _not_measured(name: str, error: NotMeasured, against: Commit | None, attempts: int) -> Criterion:
    """Why there are no blocks: the other commit may be too old for the configuration."""
    is_other, status = against is not None and error.side == against.short, error.answer.status
    by_itself = status in ("refused", "broken", "diverged") or (status == "failed" and not of_the_machine(str(error)))
    if is_other and by_itself:
        sentence = f"{error.side} cannot train it, so there is nothing to compare: {error.answer.message}"
        return Criterion(name, STEP, Verdict.NO_BASELINE, sentence)
    return _infra(name, f"not measured in {attempts} attempt{'s' if attempts > 1 else ''}: {error}")


def _infra(name: str, sentence: str) -> Criterion:
    return Criterion(name, STEP, Verdict.INFRA, sentence)


def _told(name: str, found: Pair | Criterion) -> str:
    if isinstance(found, Criterion):
        return found.line
    sides = [one for one in (found.now, found.then) if one is not None]
    told = " against ".join(f"{1000 * statistics.median(one.step_seconds):.4g} ms" for one in sides)
    return f"{name}: a step takes {told}, medians of {len(found.now.step_seconds)} blocks"


def _file(study: Path, configuration: str) -> Path:
    return study / FOLDER / f"{configuration}.json"


def _question(asked: Asked, name: str) -> dict[str, object]:
    against = None if asked.against is None else asked.against.id
    return {"words": [*asked.base, *asked.configurations[name]], "against": against, "blocks": asdict(asked.blocks)}


def _keep(asked: Asked, name: str, pair: Pair) -> None:
    content = {
        "asked": _question(asked, name),
        "machine": pair.machine,
        "now": to_json(pair.now),
        "then": None if pair.then is None else to_json(pair.then),
    }
    write_json(_file(asked.study, name), sealed(content))


def _kept(asked: Asked, name: str) -> Pair | None:
    """What this night measured before it was killed."""
    content = read_sealed(_file(asked.study, name))
    if content is None or content["asked"] != _question(asked, name):
        return None
    now, then = from_json(content["now"]), from_json(content["then"])
    return None if now is None else Pair(content["machine"], now, then)
