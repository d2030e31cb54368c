"""Which images are trained on and which are held out, and how often regularisation images repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sweeplora.data.dataset import Picture
from sweeplora.errors import UserError
from sweeplora.randomness import seed_of


def split(
    pictures: Sequence[Picture], share: float, seed: int, barred: frozenset[str]
) -> tuple[list[Picture], list[Picture]]:
    """Training and held-out images, by `share` (0 to below 1) of the different contents.

    The draw ranks contents by (seed, content), so that adding an image moves few others; equal files stay
    together, also in different subsets. The contents in `barred` are never held out: they are trained on as
    regularisation images. Raises UserError where one part would be empty.
    """
    contents = {one.sha256 for one in pictures} - barred
    count = round(share * len(contents))
    if share > 0 and not 0 < count < len(contents):
        part = "no image is held out" if count == 0 else "no image is left to train on"
        raise UserError("data.val_split", share, f"of {len(contents)} images {part}; choose another share")
    held_out = set(sorted(contents, key=lambda sha256: seed_of(seed, "split", sha256))[:count])
    train = [one for one in pictures if one.sha256 not in held_out]
    return train, [one for one in pictures if one.sha256 in held_out]


def refuse_shared(train: Sequence[Picture], held_out: Sequence[Picture], val_dir: str) -> None:
    """Raise UserError where a held-out image is trained on too, whatever its name."""
    trained = {one.sha256: one.name for one in train}
    shared = [one for one in held_out if one.sha256 in trained]
    if shared:
        first = f"{shared[0].name} is {trained[shared[0].sha256]}"
        mend = f"{len(shared)} of its images are trained on too (first: {first}); keep each in one"
        raise UserError("data.val_dir", val_dir, mend)


def balanced(pictures: Sequence[Picture], wanted: int) -> list[Picture]:
    """Regularisation images whose repeats come to `wanted`, the number of training images with theirs.

    In order each one counts with its own repeats until there are enough, and those left over are not used;
    where all of them are too few, they get one repeat more in turn. Behaviour of sd-scripts: the sum is over
    `wanted` only where the last one's own repeats overshoot it.
    """
    used: list[int] = []
    for picture in pictures:
        if sum(used) >= wanted:
            break
        used.append(picture.repeats)
    if not used:
        return []
    rounds, rest = divmod(max(0, wanted - sum(used)), len(used))
    counts = [count + rounds + (number < rest) for number, count in enumerate(used)]
    return [replace(picture, repeats=count) for picture, count in zip(pictures, counts, strict=False)]
