"""The facts of a survey as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeplora.data.notices import shown, some
from sweeplora.report.summaries import columns

_MOST_GROUPS = 10
_MOST_BUCKETS = 40


def lines_of(facts: Mapping[str, Any], most_tags: int) -> list[str]:
    """The whole report; of the tags the `most_tags` most frequent. JSON has what is left out here."""
    blocks = (
        _head(facts),
        _damaged(facts["damaged"]),
        _buckets(facts),
        _captions(facts["captions"], facts["images"]),
        _tokens(facts["tokens"]),
        _tags(facts["tags"], most_tags),
        _duplicates(facts["duplicates"]),
        [f"notice: {line}" for line in facts["notices"]],
        [f"a training would refuse: {line}" for line in facts["refusals"]] or ["a training would take all of it"],
    )
    written: list[str] = []
    for block in map(list, blocks):
        written += [*([""] if written and block else []), *block]
    return written


def _head(facts: Mapping[str, Any]) -> Iterator[str]:
    for folder in facts["folders"]:
        role = ", regularisation" if folder["regularisation"] else ""
        yield f"{folder['path']} ({folder['key']}{role}): {_count(folder['images'], 'image')}"
    sizes = facts["sizes"]
    if sizes:
        first, last = sizes[0], sizes[-1]
        usual = max(sizes, key=lambda size: size["images"])
        different = "all of one size" if len(sizes) == 1 else f"{len(sizes)} sizes"
        yield (
            f"sizes: {different}, {_size(first)} the smallest, {_size(last)} the largest, "
            f"{_size(usual)} the most frequent ({usual['images']})"
        )


def _damaged(damaged: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if damaged:
        yield f"{_count(len(damaged), 'image')} cannot be trained on:"
        yield from (f"  {shown(one['image'])} {one['fault']}" for one in damaged)


def _buckets(facts: Mapping[str, Any]) -> Iterator[str]:
    buckets, (width, height) = facts["buckets"], facts["resolution"]
    if not buckets:
        return
    yield f"{_count(len(buckets), 'bucket')} at {width} x {height}, sides in steps of {facts['bucket_step']}:"
    rows = [["  size", "images", "held out", "uses an epoch", "lost to the crop", "enlarged"]]
    rows += [
        [
            f"  {_size(one)}",
            *(str(one[key]) for key in ("images", "held_out", "uses")),
            f"{100 * one['lost']:.0f} %",
            str(one["enlarged"]),
        ]
        for one in buckets[:_MOST_BUCKETS]
    ]
    yield from columns(rows)
    if len(buckets) > _MOST_BUCKETS:
        yield f"  and {len(buckets) - _MOST_BUCKETS} smaller ones"


def _captions(captions: Mapping[str, Any], images: int) -> Iterator[str]:
    missing, empty, substituted = captions["missing"], captions["empty"], captions["substituted"]
    unreadable = captions["unreadable"]
    good = images - len(missing) - len(empty) - len(unreadable) - len(substituted)
    yield f"captions: {good} of {images} images have one"
    for names, what in (
        (missing, "without a caption"),
        (substituted, "without a caption file, captioned by data.class_tokens or the folder's name"),
        (empty, "with an empty caption"),
    ):
        if names:
            yield f"  {_count(len(names), 'image')} {what}: {some(names)}"
    yield from (f"  {shown(one['image'])}: the caption {_said(one['fault'])}" for one in unreadable)


def _said(fault: str) -> str:
    return fault.removeprefix("the caption ")


def _tokens(tokens: Mapping[str, Any]) -> Iterator[str]:
    over, limit = tokens["over"], tokens["limit"]
    yield f"tokens: {tokens['median']} the median, {tokens['longest']} the longest, {limit} the limit"
    if over:
        names = some([f"{one['image']} has {one['tokens']}" for one in over])
        mend = f"; model.max_tokens={tokens['enough']} takes all" if tokens["enough"] else "; 225 is the most"
        yield f"  {_count(len(over), 'caption')} cut at model.max_tokens={limit}: {names}{mend}"


def _tags(tags: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    if not tags or not most:
        return
    once = sum(tag["images"] == 1 for tag in tags)
    yield f"tags: {len(tags)} different ones, {once} of them on one image"
    yield from columns([["  images", "tag"], *([f"  {one['images']}", shown(one["tag"])] for one in tags[:most])])


def _duplicates(duplicates: Mapping[str, Any]) -> Iterator[str]:
    exact, near = duplicates["exact"], duplicates["near"]
    if not exact and not near:
        yield "duplicates: none, neither equal files nor images that look alike"
    for groups, what in ((exact, "the same file"), (near, "looks alike")):
        for names in groups[:_MOST_GROUPS]:
            yield f"duplicates, {what}: {some(names)}"
        if len(groups) > _MOST_GROUPS:
            yield f"duplicates, {what}: {len(groups) - _MOST_GROUPS} more groups"
    if near:
        yield f"  ({duplicates['method']})"


def _size(one: Mapping[str, int]) -> str:
    return f"{one['width']} x {one['height']}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
