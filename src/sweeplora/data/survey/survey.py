"""Every image of a data set's folders with its caption, its bucket and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sweeplora.data.buckets import Size, place
from sweeplora.data.caption_files import Listing, caption_notices, read_text, stem, trained_text
from sweeplora.data.captions import lines
from sweeplora.data.dataset import Picture, Treatment
from sweeplora.data.decode import ImageFault, glance
from sweeplora.data.folder import Folder
from sweeplora.data.listing import FoundImage, folder_caption, left_out_notices, list_folder, repeats_below
from sweeplora.data.notices import shown
from sweeplora.data.reader import captions_of, picture_of, repeats_notice, resolution_notice, size_notices
from sweeplora.data.source_folder import SourceFolder, refuse_overlaps
from sweeplora.data.split import refuse_shared, split
from sweeplora.data.survey.look import GRID, Look, look_of
from sweeplora.errors import UserError

VALIDATION = "data.val_dir"


class Sides(NamedTuple):
    """What a model asks of images: sides are multiples of `divisor`, and `resolution` pixels by default."""

    divisor: int
    resolution: int


@dataclass(frozen=True)
class Seen:
    """One image file. `shown`: its name in lists. `fault`: why it cannot be trained on.

    `caption` None: there is no text for it; '': an empty one. `no_file`: it has none of its own.
    `picture` is None where there is a fault; its caption is then not asked for.
    """

    shown: str
    source: str
    size: Size | None
    sha256: str
    look: Look | None
    fault: str | None
    caption: str | None
    caption_fault: str | None
    no_file: bool
    picture: Picture | None
    held_out: bool = False


@dataclass(frozen=True)
class Survey:
    """All images in the order of the folders, each folder with its key, and lines worth a look.

    `refusals`: what a training would refuse beside the faults of images and captions.
    """

    folders: tuple[SourceFolder, ...]
    seen: tuple[Seen, ...]
    notices: tuple[str, ...]
    refusals: tuple[str, ...]
    step: int
    resolution: Size


class _Folder(NamedTuple):
    """The images of one folder, notices about it, and what a training would refuse of it beside single images."""

    seen: list[Seen]
    notices: list[str]
    refusals: list[str]


class _File(NamedTuple):
    sha256: str
    size: Size | None
    look: Look | None
    fault: str | None


def survey(folder: Folder, sides: Sides) -> Survey:
    """Look at every image and caption; no image is decoded at full size if its format allows less.

    Raises UserError for options that are wrong in themselves and for folders that cannot be listed.
    """
    sources = folder.sources()
    refuse_overlaps(sources, folder.val_dir)
    if folder.val_dir is not None:
        sources.append(SourceFolder(VALIDATION, folder.val_dir, "data", folder))
    found = [_of_folder(source, sides, len(sources) > 1) for source in sources]
    seen = tuple(one for part in found for one in part.seen)
    refusals = [line for part in found for line in part.refusals]
    try:
        seen = _split(folder, seen, {source.key for source in sources if source.is_reg})
    except UserError as error:
        refusals.append(str(error))
    grid = folder.grid(*sides, "data")
    return Survey(
        folders=tuple(sources),
        seen=seen,
        notices=tuple(line for part in found for line in part.notices),
        refusals=tuple(refusals),
        step=grid.step,
        resolution=folder.area(sides.resolution),
    )


def _of_folder(source: SourceFolder, sides: Sides, several: bool) -> _Folder:
    options = source.options
    grid = options.grid(*sides, source.owner)
    listing = list_folder(source.key, source.path, options.caption_extension)
    with ThreadPoolExecutor() as threads:
        files = list(threads.map(_see, [source.path / name for name in listing.images]))
    treatment = Treatment(options.rules, options.flip, options.color, options.random_crop, source.is_reg)
    seen, some_lines = [], []
    refusals: list[str] = []
    for name, file in zip(listing.images, files, strict=True):
        caption, fault, no_file, is_long = _caption(listing, source, name)
        some_lines += [stem(name) + options.caption_extension] if is_long else []
        picture, wrong = None, file.fault
        if file.size is not None:
            placed = place(*file.size, grid)
            if 0 in placed.bucket:
                wrong = f"is shorter than a step of {grid.step} pixels"
            else:
                try:
                    repeats = repeats_below(source.key, name)
                except UserError as error:
                    repeats, refusals = 0, [*refusals, str(error)]
                path = source.path / name
                image = FoundImage(path, name, caption or "", file.size, repeats, file.sha256, "", None)
                picture = picture_of(image, placed, options.repeats, treatment, None)
        known_as = str(Path(source.dir) / name) if several else name
        seen.append(
            Seen(known_as, source.key, file.size, file.sha256, file.look, wrong, caption, fault, no_file, picture)
        )
    pictures = [one.picture for one in seen if one.picture is not None]
    several_lines = [] if options.wildcards else list(dict.fromkeys(some_lines))
    notices = [
        *left_out_notices(listing),
        *caption_notices(listing, captions_of(options), several_lines),
        *repeats_notice(source),
        *resolution_notice(source, grid, sides.resolution),
        *size_notices(pictures),
    ]
    return _Folder(seen, [f"{source.key}: {notice}" for notice in notices], list(dict.fromkeys(refusals)))


def _see(path: Path) -> _File:
    """One image file: read whole, decoded as small as its format allows."""
    try:
        if path.is_symlink() and not path.exists():
            return _File("", None, None, f"is a link to {shown(str(path.readlink()))}, which is not there")
        if not path.is_file():
            return _File("", None, None, "is no regular file")
        data = path.read_bytes()
    except OSError as error:
        return _File("", None, None, f"cannot be read ({error.strerror})")
    digest = hashlib.sha256(data).hexdigest()
    try:
        found = glance(data, GRID)
    except ImageFault as fault:
        return _File(digest, None, None, str(fault))
    return _File(digest, Size(*found.size), look_of(found.small), None)


def _caption(listing: Listing, source: SourceFolder, name: str) -> tuple[str | None, str | None, bool, bool]:
    """An image's caption, what is wrong with its file, whether it has none, and whether it has several lines."""
    captions = captions_of(source.options)
    try:
        text = read_text(listing, name, stem(name) + captions.extension)
    except UserError as error:
        return None, error.mend, False, False
    if text is None:
        other = folder_caption(name) if captions.folder_captions else None
        return other or captions.class_tokens, None, True, False
    return trained_text(text, captions), None, False, len(lines(text)) > 1


def _split(folder: Folder, seen: Sequence[Seen], regular: set[str]) -> tuple[Seen, ...]:
    """The images, with those marked that are held out. Raises UserError where a training would refuse the split."""
    trained = [one.picture for one in seen if one.picture is not None and one.source not in {VALIDATION, *regular}]
    reg = [one.picture for one in seen if one.picture is not None and one.source in regular]
    held_out = [one.picture for one in seen if one.picture is not None and one.source == VALIDATION]
    if folder.val_dir is None:
        _, held_out = split(trained, folder.val_split, folder.validation_seed, frozenset(one.sha256 for one in reg))
    else:
        refuse_shared([*trained, *reg], held_out, folder.val_dir)
    chosen = {id(picture) for picture in held_out}
    return tuple(replace(one, held_out=id(one.picture) in chosen) for one in seen)
