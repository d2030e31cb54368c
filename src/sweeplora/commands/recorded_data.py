"""A folder of images compared with a run's record of it, read as a training reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.data.caption_files import CaptionSource, Listing, read_text, stem, trained_text
from sweeplora.data.decode import SUFFIXES
from sweeplora.data.listing import folder_caption, names_below, suffix
from sweeplora.errors import UserError
from sweeplora.record.restore.data import Differences

if TYPE_CHECKING:
    from sweeplora.record.restore.data import DataFolder


_UNKNOWN = object()


def compare(place: Path, folder: DataFolder) -> Differences:
    """What a training would read otherwise at a place than the run did, besides the images' contents.

    Masks of other images are not read, and so are no difference. What a data set of the user's leaves out is not
    known, nor where it takes captions from that no file beside an image has.
    """
    try:
        names = names_below("DIR", place, "images")
    except UserError:  # it cannot be listed
        return Differences([], list(folder.captions))
    images = [name for name in names if suffix(name) in SUFFIXES]
    recorded = {str(one["name"]) for one in folder.members}
    unlisted = [name for name in images if name not in recorded]
    if folder.options is None:
        stems = {stem(name) for name in recorded}
        return Differences([name for name in unlisted if stem(name) in stems])
    listing, source = Listing("DIR", place, names, images, ()), _caption_source(folder.options)
    differing = [
        name
        for name, caption in folder.captions.items()
        if _caption(listing, source, name, folder.own_reader) not in (caption, _UNKNOWN)
    ]
    return Differences([] if folder.own_reader else unlisted, differing)


def _caption(listing: Listing, source: CaptionSource, name: str, own_reader: bool) -> str | object | None:
    """The caption that an image trains on; None without one, or with one that cannot be read."""
    try:
        text = read_text(listing, name, stem(name) + source.extension)
    except UserError:
        return None
    if text is not None:
        return trained_text(text, source)
    if own_reader:
        return _UNKNOWN
    return (folder_caption(name) if source.folder_captions else None) or source.class_tokens


def _caption_source(options: Mapping[str, Any]) -> CaptionSource:
    return CaptionSource(
        extension=str(options.get("caption_extension") or ".txt"),
        class_tokens=options.get("class_tokens"),
        folder_captions=bool(options.get("folder_captions")),
        may_be_empty=True,
        every_line=bool(options.get("wildcards")),
    )
