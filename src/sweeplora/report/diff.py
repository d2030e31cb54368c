"""What differs between two runs: configuration, images and captions, results; from what their folders record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeplora.report.words import number
from sweeplora.rundir.record import TrialRecord

_DATA_KEYS = ("dir", "val_dir", "reg_dir", "mask_dir")
_ABSENT = "(not there)"


@dataclass(frozen=True)
class DataDiff:
    """Images by name below their data folder; `changed` name -> what changed of it, as [then, now]."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, Mapping[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def as_data(self) -> dict[str, Any]:
        """The same as JSON data."""
        return asdict(self)


def config_diff(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted key -> [then, now] of every value that differs; a missing one is `(not there)`."""
    before, after = dict(_flat(then)), dict(_flat(now))
    keys = dict.fromkeys((*before, *after))
    pairs = {key: [before.get(key, _ABSENT), after.get(key, _ABSENT)] for key in keys}
    return {key: pair for key, pair in pairs.items() if not _same(*pair)}


def data_diff(
    then: tuple[Mapping[str, Any], Mapping[str, Any]], now: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> DataDiff:
    """Images and captions of two runs; each is a (configuration, dataset.json)."""
    before, after = _images(*then), _images(*now)
    changed = {}
    for name in before.keys() & after.keys():
        parts = {
            key: [before[name].get(key), after[name].get(key)]
            for key in ("sha256", "caption", "split", "repeats", "bucket", "mask")
            if _content(before[name].get(key)) != _content(after[name].get(key))
        }
        if parts:
            changed[name] = parts
    return DataDiff(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=dict(sorted(changed.items())),
    )


def result_diff(then: Mapping[str, float], now: Mapping[str, float]) -> dict[str, list[float | None]]:
    """Metric -> [then, now] of the last values that differ."""
    keys = sorted({*then, *now})
    return {key: [then.get(key), now.get(key)] for key in keys if then.get(key) != now.get(key)}


def identity_diff(then: TrialRecord, now: TrialRecord) -> dict[str, list[Any]]:
    """What two runs of one configuration may differ in by their records: shape, contents, source, libraries."""
    pairs: dict[str, list[Any]] = {
        "processes": [then.processes, now.processes],
        "threads": [then.threads, now.threads],
    }
    if then.contents:
        keys = {**then.contents, **now.contents}
        pairs |= {f"content of {key}": [then.contents.get(key), now.contents.get(key)] for key in keys}
    if then.code:
        names = {**then.code, **now.code}
        pairs |= {_code_name(name): [then.code.get(name), now.code.get(name)] for name in names}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def shown_pairs(pairs: Mapping[str, Sequence[Any]]) -> list[str]:
    """`key: then -> now` for each; numbers that differ in later digits with all of them."""
    return [f"{key}: {_shown_pair(before, after)}" for key, (before, after) in pairs.items()]


def _shown_pair(before: Any, after: Any) -> str:
    first, second = _shown(before), _shown(after)
    if first == second:
        first, second = str(before), str(after)
    return f"{first} -> {second}"


def shown_data(diff: DataDiff) -> list[str]:
    """A data set's differences as lines."""
    lines = [f"added: {name}" for name in diff.added] + [f"removed: {name}" for name in diff.removed]
    for name, parts in diff.changed.items():
        for key, (before, after) in parts.items():
            what = "other image" if key == "sha256" else f"{key} {_shown_pair(before, after)}"
            lines.append(f"changed: {name}: {what}")
    return lines


def _code_name(name: str) -> str:
    return "the code of the training" if name == "source" else f"version of {name}"


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return f"{value[:12]}…"
    if isinstance(value, str):
        return repr(value) if value == "" or (" " in value and value != _ABSENT) else value
    return number(value, "null")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _content(value: Any) -> Any:
    """A mask without its path, which may differ between machines."""
    return value.get("sha256") if isinstance(value, Mapping) else value


def _images(config: Mapping[str, Any], listing: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The images by their names below their data folders, which may be anywhere."""
    data = config.get("data") or {}
    roots = [str(data[key]) for key in _DATA_KEYS if data.get(key)]
    roots += [str(subset["dir"]) for subset in data.get("subsets") or [] if subset.get("dir")]
    found = {}
    entries = listing.get("files")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and "path" in entry:
            found[_name(str(entry["path"]), roots)] = entry
    return found


def _name(path: str, roots: Sequence[str]) -> str:
    inside = [root for root in roots if Path(path).is_relative_to(root)]
    if not inside:
        return path
    root = max(inside, key=len)
    return f"{Path(root).name}/{Path(path).relative_to(root).as_posix()}"
