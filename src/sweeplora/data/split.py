"""Which images are trained on and which are held out, and how often regularisation images repeat."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweeplora.data.dataset import Picture
from sweeplora.data.notices import shown
from sweeplora.errors import UserError
from sweeplora.randomness import seed_of


def split(
    pictures: Sequence[Picture], share: float, seed: int, barred: frozenset[str]
) -> tuple[list[Picture], list[Picture]]:
    """Training and held-out images, by `share` (0 to below 1) of the different images.

    Files with the same content, the same decoded levels or the same name but for the suffix count as one image, also
    in different subsets. The draw ranks contents by (seed, content), so that adding an image moves few others. Images
    whose content or levels are in `barred` are never held out: they are trained on as regularisation images. Raises
    UserError where one part would be empty.
    """
    groups = _groups(pictures)
    members: dict[int, list[Picture]] = {}
    for picture, group in zip(pictures, groups, strict=True):
        members.setdefault(group, []).append(picture)
    free = [
        group for group, some in members.items() if not any({one.sha256, one.levels} & barred - {""} for one in some)
    ]
    count = round(share * len(free))
    if share > 0 and not 0 < count < len(free):
        part = "no image is held out" if count == 0 else "no image is left to train on"
        raise UserError("data.val_split", share, f"of {len(free)} images {part}; choose another share")
    ranks = {group: min(seed_of(seed, "split", one.sha256) for one in members[group]) for group in free}
    held_out = set(sorted(free, key=lambda group: ranks[group])[:count])
    train = [picture for picture, group in zip(pictures, groups, strict=True) if group not in held_out]
    return train, [picture for picture, group in zip(pictures, groups, strict=True) if group in held_out]


def refuse_shared(train: Sequence[Picture], held_out: Sequence[Picture], val_dir: str) -> None:
    """Raise UserError where a held-out image is trained on too, whatever its name and format."""
    trained = {content: one.name for one in train for content in (one.sha256, one.levels) if content}
    shared = [(one, trained.get(one.sha256) or trained.get(one.levels)) for one in held_out]
    found = [(one.name, name) for one, name in shared if name is not None]
    if found:
        first = f"{shown(found[0][0])} is {shown(found[0][1])}"
        mend = f"{len(found)} of its images are trained on too (first: {first}); keep each in one"
        raise UserError("data.val_dir", val_dir, mend)


def balanced(pictures: Sequence[Picture], wanted: int) -> list[Picture]:
    """Regularisation images whose repeats add up to `wanted`, the number of training images with theirs.

    Each counts with its own repeats, in order, until there are enough; those left over are not used. Where all of them
    are too few, they get one repeat more in turn. Behaviour of sd-scripts: the sum exceeds `wanted` only where the
    last one's own repeats overshoot it.
    """
    used: list[int] = []
    total = 0
    for picture in pictures:
        if total >= wanted:
            break
        used.append(picture.repeats)
        total += picture.repeats
    if not used:
        return []
    rounds, rest = divmod(max(0, wanted - total), len(used))
    counts = [count + rounds + (number < rest) for number, count in enumerate(used)]
    return [replace(picture, repeats=count) for picture, count in zip(pictures, counts, strict=False)]


def _groups(pictures: Sequence[Picture]) -> list[int]:
    """For each image the index of the first one that is the same image, by content, levels or name."""
    first = list(range(len(pictures)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    owners: dict[tuple[str, str], int] = {}
    for index, picture in enumerate(pictures):
        for sign in _signs(picture):
            one, other = sorted((root(owners.setdefault(sign, index)), root(index)))
            first[other] = one
    return [root(index) for index in range(len(pictures))]


def _signs(picture: Picture) -> Iterator[tuple[str, str]]:
    yield "content", picture.sha256
    yield "name", os.path.splitext(picture.path)[0]
    if picture.levels:
        yield "levels", picture.levels
