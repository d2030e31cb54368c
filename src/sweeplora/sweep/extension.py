"""What changed between a study's question and the same study asked again, and whether the change only adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sweeplora.errors import UserError, shortened
from sweeplora.sweep.search.facts import facts_of
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.space import Choice, Dimension, Fixed, Interval, Space, Steps

Signed = Callable[[list[str]], str]
"""The signature of the experiment with these proposed words. Raises UserError if there is no such experiment."""

_ASKED = {
    "objective": "sweep.objective",
    "constraints": "sweep.constraints",
    "enqueue": "sweep.enqueue",
    "warm_start": "sweep.warm_start",
}
_MISSING = "nothing"
_ELSEWHERE = "the contents of model, data or prompts, or the program's own version"


class Change(NamedTuple):
    """One thing that a study asked otherwise."""

    key: str
    before: object
    after: object

    def __str__(self) -> str:
        if self.key == _ELSEWHERE:
            return self.key
        return f"{self.key}: {shortened(str(self.before))} -> {shortened(str(self.after))}"


def changes(asked: Mapping[str, Any], identity: Mapping[str, Any], signed: Signed) -> list[Change]:
    """What changed since the study of this name began; empty if the question is the same."""
    found = [*_changed("space", asked.get("space", {}), identity["space"])]
    for key, title in _ASKED.items():
        old, new = asked.get(key) or [], identity[key] or []
        if old != new:
            found.append(Change(title, old or _MISSING, new or _MISSING))
    found += _changed_part("search", _search_of(asked["search"], identity["search"]), identity["search"])
    before, after = asked.get("replicates", 1), identity.get("replicates", 1)
    if before != after:
        found.append(Change("sweep.replicates", before, after))
    if "pruner" in asked:  # one that began before its pruner was part of the question goes on
        found += _changed_part("pruner", asked["pruner"], identity["pruner"])
    found += _less_confirmed(asked.get("confirm", {"top": 0}), identity.get("confirm", {"top": 0}))
    if asked.get("signature") != identity["signature"] and not _same_elsewhere(asked, signed):
        searched = set(_keys(asked.get("space", {}))) | set(_keys(identity["space"]))
        config = [
            change
            for change in _changed("", asked.get("config", {}), identity["config"])
            if not any(change.key == key or change.key.startswith(f"{key}.") for key in searched)
        ]
        found += config or [Change(_ELSEWHERE, "", "")]
    return found


def refuse_more_than_adding(asked: Mapping[str, Any], identity: Mapping[str, Any], search: Mapping[str, Any]) -> None:
    """Raise UserError for a change that is neither a wider range nor more points to try first."""
    before, after = parse_space(asked.get("space", {})), parse_space(identity["space"])
    _refuse_other_than_wider(before, after, "sweep.space")
    if before != after and not facts_of(search).widens:
        name = str(search["_target_"]).rpartition(".")[2]
        raise UserError("sweep.extend", "true", f"{name} keeps a state in the units of its ranges; give another name")
    if asked.get("replicates", 1) != identity.get("replicates", 1):
        mend = (
            f"each trial so far has {asked.get('replicates', 1)}; give another name, or sweep.confirm for the best few"
        )
        raise UserError("sweep.replicates", identity.get("replicates", 1), mend)
    if list(identity["enqueue"])[: len(asked.get("enqueue", []))] != asked.get("enqueue", []):
        raise UserError("sweep.enqueue", identity["enqueue"], "points are added at the end only; give another name")


def _changed_part(group: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What changed in a search or a pruner: it is another one, or it has other numbers."""
    old, new = (str(part["_target_"]).rpartition(".")[2] for part in (before, after))
    if old != new:
        yield Change(group, old, new)
    else:
        yield from _changed(group, before, after)


def _search_of(asked: Any, now: Mapping[str, Any]) -> Mapping[str, Any]:
    """A study's search; one that began before its settings were in the question kept its class, a grid its seed."""
    if isinstance(asked, Mapping):
        return asked
    kept = dict(zip(("_target_", "seed"), [asked] if isinstance(asked, str) else asked, strict=False))
    return {**now, **kept}


def _less_confirmed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What changed in how the best few are confirmed; more of them, or more seeds, add to what was trained."""
    for key in before if before["top"] else ():
        grows = key in ("top", "seeds") and after[key] >= before[key]
        if after[key] != before[key] and not grows:
            yield Change(f"sweep.confirm.{key}", before[key], after[key])


def _refuse_other_than_wider(before: Space, after: Space, where: str) -> None:
    for key in {**before.dimensions, **after.dimensions}:
        old, new = before.dimensions.get(key), after.dimensions.get(key)
        why = _not_wider(old, new)
        if why is not None:
            old_text, new_text = old or _MISSING, new or _MISSING
            raise UserError(f"{where}.{key}", f"{old_text} -> {new_text}", f"{why}; give another name")
    if before.branches.keys() != after.branches.keys():
        raise UserError(where, "branches", "another set of branches is another question; give another name")
    for condition, branch in before.branches.items():
        _refuse_other_than_wider(branch, after.branches[condition], f"{where}.{'='.join(condition)}")


def _not_wider(old: Dimension | None, new: Dimension | None) -> str | None:
    """Why a dimension is not the same or wider; None if it is."""
    if old == new:
        return None
    match old, new:
        case Interval(), Interval() if (old.log, old.whole) == (new.log, new.whole):
            return None if new.low <= old.low and old.high <= new.high else "a range may only grow"
        case Steps(), Steps() if (old.log, old.whole, old.step) == (new.log, new.whole, new.step):
            inside = new.low <= old.low and old.high <= new.high and (old.low - new.low) % old.step == 0
            return None if inside else "a range may only grow, by whole steps"
        case Choice(), Choice():
            return "Optuna keeps the values of a choice as they began"
        case Fixed(), _:
            return "a fixed value stays as it is"
        case None, _:
            return "the trials so far have no value of a new key"
        case _, None:
            return "a key cannot be taken away"
    return "another kind of range is another question"


def _same_elsewhere(asked: Mapping[str, Any], signed: Signed) -> bool:
    """Whether the first proposal of the study that was asked is the same experiment now."""
    first = asked.get("first")
    if not isinstance(first, list):
        return False
    try:
        return signed(first) == asked.get("signature")
    except UserError:
        return False


def _changed(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in {**before, **after}:
        title = f"{prefix}.{key}" if prefix else key
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changed(title, old, new)
        elif old != new:
            yield Change(title, old, new)


def _keys(space: Mapping[str, Any]) -> Iterator[str]:
    for key, value in space.items():
        if isinstance(value, Mapping):
            yield from _keys(value)
        else:
            yield key.lstrip("+")
