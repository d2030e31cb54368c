"""The data of a run brought back: images by their hash, the set of them and their captions as the record has them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.record.restore.places import Places
from sweeplora.record.restore.search import holds, put

_SHIPPED_READER = "sweeplora.data.folder.Folder"
_KEPT = ("sha256", "bytes", "width", "height")
_SHOWN = 3

Member = Mapping[str, Any]
"""An image or mask of `dataset.json`; `name` is its path below its folder."""


class Differences(NamedTuple):
    """What of a folder is not as recorded, by names below it: images that the run did not have, images' captions."""

    unlisted: Sequence[str] = ()
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class DataFolder:
    """One reading of a folder that the configuration names, as its `text` writes it, with its recorded `members`.

    `options`: those of its images, None for masks. `own_reader`: a data set of the user's reads it, which may take its
    captions from anywhere and leave images out.
    """

    text: str
    options: Mapping[str, Any] | None
    own_reader: bool
    members: Sequence[Member] = ()

    @property
    def captions(self) -> dict[str, str]:
        """The recorded caption of each image, by the image's name."""
        return {one["name"]: one["caption"] for one in self.members if self.options is not None and "caption" in one}

    @property
    def caption_extension(self) -> str:
        """The suffix of its caption files."""
        return str((self.options or {}).get("caption_extension") or ".txt")


Compare = Callable[[Path, DataFolder], Differences]
"""Compares a place, an existing folder, with a folder's record, reading it as a training would."""


def restore_data(config: Mapping[str, Any], listing: Mapping[str, Any], places: Places, compare: Compare) -> None:
    """Bring back every folder of images that the configuration names; `listing` is the run's `dataset.json`."""
    listed = listing.get("files")
    entries = [entry for entry in listed if _is_entry(entry)] if isinstance(listed, list) else []
    readings: dict[Path, list[DataFolder]] = defaultdict(list)
    for folder in _with_members(list(_data_folders(config.get("data") or {})), entries, places):
        readings[places.recorded(folder.text)].append(folder)
    if readings and not entries:
        places.notes.append("dataset.json is missing or damaged: images and captions are not compared with the record")
    elif readings and isinstance(listed, list) and len(entries) < len(listed):
        places.notes.append(f"dataset.json is damaged: {len(listed) - len(entries)} of its entries are passed over")
    for root, folders in readings.items():
        if any(folder.members for folder in folders):
            place = _restored(root, folders, places, compare)
        else:
            place = _as_it_is(root, folders[0].text, places)
        for folder in folders:
            places.use(folder.text, place)


def _is_entry(entry: Any) -> bool:
    """Whether an entry of `dataset.json`, and the mask in it, says what it is needed for."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("caption", ""), str):
        return False
    files = [entry, *([] if entry.get("mask") is None else [entry["mask"]])]
    return all(
        isinstance(one, Mapping) and isinstance(one.get(key), kind)
        for one in files
        for key, kind in (("path", str), ("sha256", str), ("bytes", int))
    )


def _data_folders(data: Mapping[str, Any]) -> Iterator[DataFolder]:
    """Every reading of a folder, in the order in which `dataset.json` lists its images; masks come last."""
    own = str(data.get("_target_") or _SHIPPED_READER) != _SHIPPED_READER
    subsets = [one for one in data.get("subsets") or [] if isinstance(one, Mapping) and one.get("dir")]
    read = [(data.get("dir"), data)]
    read += [(one["dir"], {**data, **one}) for one in sorted(subsets, key=lambda one: bool(one.get("is_reg")))]
    read += [(data.get("reg_dir"), data), (data.get("val_dir"), data)]
    yield from (DataFolder(str(text), options, own) for text, options in read if text)
    masks = dict.fromkeys(str(one["mask_dir"]) for one in (data, *subsets) if one.get("mask_dir"))
    yield from (DataFolder(text, None, own) for text in masks)


def _with_members(
    folders: Sequence[DataFolder], entries: Sequence[Mapping[str, Any]], places: Places
) -> Iterator[DataFolder]:
    """The folders with their images or masks; an image that several readings have is listed once for each, in order."""
    images, masks = _by_path(entries, places), _by_path([entry.get("mask") for entry in entries], places)
    for folder in folders:
        root = places.recorded(folder.text)
        of_kind = images if folder.options is not None else masks
        below = {path: found for path, found in of_kind.items() if _is_read_below(path, root)}
        members = [{**found[0], "name": path.relative_to(root).as_posix()} for path, found in below.items() if found]
        if folder.options is not None:
            for found in below.values():
                del found[:1]
        yield replace(folder, members=members)


def _by_path(entries: Sequence[Any], places: Places) -> dict[Path, list[Mapping[str, Any]]]:
    found: dict[Path, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry, Mapping):
            found[places.recorded(str(entry["path"]))].append(entry)
    return found


def _is_read_below(path: Path, root: Path) -> bool:
    """Whether reading the folder `root` reads `path`: hidden folders are not read."""
    return path.is_relative_to(root) and not any(part.startswith(".") for part in path.relative_to(root).parts)


def _as_it_is(root: Path, text: str, places: Places) -> Path:
    """The place of a folder of which nothing is recorded."""
    found = next((place for place in _candidates(root, text, places) if place.is_dir()), None)
    if found is None:
        places.missing.append({"path": str(root), "why": "the record does not list what was in this folder"})
    return found or places.usual(text)


def _candidates(root: Path, text: str, places: Places) -> list[Path]:
    """Where a folder may be as it was: what was in the workspace is looked for in the restored one alone."""
    return [places.usual(text)] if places.was_inside(text) else [places.usual(text), root]


def _restored(root: Path, folders: Sequence[DataFolder], places: Places, compare: Compare) -> Path:
    """The place where a folder is as recorded, made so in the restored workspace if it is so nowhere."""
    usual, *others = _candidates(root, folders[0].text, places)
    for place in (usual, *others):
        if place.is_dir() and all(_is_as_recorded(place, folder, compare) for folder in folders):
            _settle(place, folders, places)
            return place
    target = usual if _may_write(usual, places) else places.fresh(folders[0].text)
    seen = next((place for place in (usual, *others) if place.is_dir()), None)
    for folder in folders:
        if seen is not None:
            _tell(compare(seen, folder), seen, places)
        _put_images(target, root, folder, places)
    for folder in folders:
        _make_alike(target, folder if target == seen else replace(folder, own_reader=False), places, compare)
    _settle(target, folders, places)
    return target


def _is_as_recorded(place: Path, folder: DataFolder, compare: Compare) -> bool:
    whole = all(holds(place / one["name"], one["sha256"], one["bytes"]) for one in folder.members)
    return whole and not any(compare(place, folder))


def _may_write(place: Path, places: Places) -> bool:
    """Whether all that is written and removed below a place is in the restored workspace, whatever links are there."""
    nearest = next(one for one in (place, *place.parents) if os.path.lexists(one))
    if not nearest.is_dir() or not places.owns(place):
        return False
    return not any(os.path.islink(os.path.join(folder, name)) for folder, names, _ in os.walk(place) for name in names)


def _put_images(target: Path, root: Path, folder: DataFolder, places: Places) -> None:
    """Put images and masks where they were below their folder, and take away another one in a missing one's place."""
    target.mkdir(parents=True, exist_ok=True)
    for one in folder.members:
        path, recorded = target / one["name"], root / one["name"]
        here = [place for place in (path, recorded) if holds(place, one["sha256"], one["bytes"])]
        source = here[0] if here else places.search.find(one["sha256"], one["bytes"])
        if source is None:
            path.unlink(missing_ok=True)
            kept = {key: one[key] for key in _KEPT if key in one}
            missing = {"path": str(recorded), **kept, "why": "the image is not here"}
            places.missing += [missing] if missing not in places.missing else []
        elif source != path:
            put(source, path)


def _make_alike(target: Path, folder: DataFolder, places: Places, compare: Compare) -> None:
    """Take away images that the run did not have, and write its captions."""
    differing = compare(target, folder)
    for name in differing.unlisted:
        (target / name).unlink()
        places.settled.add(target / name)
    used = {os.path.splitext(name)[0] for name in folder.captions}
    for name in differing.unlisted:
        text = _caption_file(target, name, folder)
        if os.path.splitext(name)[0] not in used and os.path.lexists(text):
            text.unlink()
            places.settled.add(text)
    for name in differing.captions:
        text = _caption_file(target, name, folder)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.unlink(missing_ok=True)  # it may be a link
        text.write_text(folder.captions[name], encoding="utf-8")
    for name in compare(target, folder).captions:
        why = f"no file gives its recorded caption, {folder.captions[name]!r}"
        places.missing.append({"path": str(_caption_file(target, name, folder)), "why": why})


def _caption_file(place: Path, name: str, folder: DataFolder) -> Path:
    return place / (os.path.splitext(name)[0] + folder.caption_extension)


def _settle(place: Path, folders: Sequence[DataFolder], places: Places) -> None:
    """Note that a place's images and captions are as recorded."""
    for folder in folders:
        places.settled |= {place / one["name"] for one in folder.members}
        places.settled |= {_caption_file(place, name, folder) for name in folder.captions}


def _tell(differing: Differences, place: Path, places: Places) -> None:
    """Say what is otherwise at a place than in the record."""
    for names, what in (
        (differing.captions, "other captions than the run's, replaced by the recorded ones"),
        (differing.unlisted, "images that the run did not have, left out"),
    ):
        if names:
            more = f" (and {len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
            shown = ", ".join(names[:_SHOWN])
            places.notes.append(f"{place}: {what}: {shown}{more}")
