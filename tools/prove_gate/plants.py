"""Faults to plant: each is an edit of a copy of the committed source."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Edit(NamedTuple):
    """`before`, which the file holds once, becomes `after`."""

    file: str
    before: str
    after: str


class Plant(NamedTuple):
    """A fault in one file, in words and as an edit. `touched`: the configurations to train."""

    says: str
    edit: Edit
    touched: tuple[str, ...]


PLANTS = {
    "rate": Plant(
        "learning rate doubled in conf/",
        Edit(
            "conf/optimizer/adamw.yaml",
            "lr: 2e-3 ",
            "lr: 4e-3 ",
        ),
        ("locon_offset", "sd15"),
    ),
    "offset": Plant(
        "noise offset drawn per pixel instead of per channel",
        Edit(
            "src/sweeplora/diffusion/noise.py",
            "torch.randn((latent.shape[0], 1, 1), generator=generator)",
            "torch.randn(latent.shape, generator=generator)",
        ),
        ("locon_offset",),
    ),
    "alpha": Plant(
        "alpha doubled on its way to the network's scale",
        Edit(
            "src/sweeplora/networks/blocks.py",
            "Rank(dim, float(alpha or dim))",
            "Rank(dim, 2 * float(alpha or dim))",
        ),
        ("v_prediction_accumulation",),
    ),
    "sizes": Plant(
        "size ids swapped: the crop's corner where the original size belongs",
        Edit(
            "src/sweeplora/data/pixels.py",
            "return (picture.height, picture.width, view.top, left,",
            "return (view.top, left, picture.height, picture.width,",
        ),
        ("dora_min_snr_masks",),
    ),
    "encoder": Plant(
        "the first text encoder's hidden states dropped",
        Edit(
            "src/sweeplora/models/loaded.py",
            "torch.cat([one.hidden for one in encoded], dim=-1)",
            "torch.cat([one.hidden * (one is not encoded[0]) for one in encoded], dim=-1)",
        ),
        ("locon_offset",),
    ),
    "captions": Plant(
        "captions shifted by one image in every batch",
        Edit(
            "src/sweeplora/data/loader.py",
            "captions=tuple(part.caption for part in parts)",
            "captions=tuple(part.caption for part in (*parts[1:], parts[0]))",
        ),
        ("dora_min_snr_masks",),
    ),
    "small": Plant(
        "a small change: learning rate 4 % higher",
        Edit(
            "conf/optimizer/adamw.yaml",
            "lr: 2e-3 ",
            "lr: 2.08e-3 ",
        ),
        ("locon_offset",),
    ),
}


def copy_with(tree: Path, *edits: Edit) -> Path:
    """Make `tree` the committed source with these edits, unless it is there; returns it.

    Ends the command if a file does not hold an edit's text exactly once.
    """
    if tree.exists():
        return tree
    part = tree.with_name(f".{tree.name}")
    shutil.rmtree(part, ignore_errors=True)
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(part, filter="data")
    for edit in edits:
        text = (part / edit.file).read_text()
        if text.count(edit.before) != 1:
            raise SystemExit(f"{edit.file} holds {edit.before!r} {text.count(edit.before)} times, not once")
        (part / edit.file).write_text(text.replace(edit.before, edit.after))
    return part.rename(tree)
