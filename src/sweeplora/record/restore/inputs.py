"""The inputs of a run brought back: images by their hash, captions from the record, prompts, start files, the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeplora.record.restore.search import ContentSearch, holds, put

ModelDigest = Callable[[Path], str | None]
"""The content hash of a base model at a path as a signature has it; None if there is no such model."""

_DATA_KEYS = ("dir", "val_dir", "reg_dir", "mask_dir")
_SHIPPED = "/sweeplora/assets/"
_FOLDER = "inputs"
"""Below the restored workspace: what was outside of the recorded one."""


@dataclass
class Places:
    """Where recorded paths are now. `paths`: recorded text of the configuration -> text to use; `missing`: not found.

    `then` is the folder that the command ran in, `now` the restored one, `assets` the package's own files.
    """

    then: Path
    now: Path
    assets: Path
    search: ContentSearch
    paths: dict[str, str] = field(default_factory=dict)
    missing: list[Mapping[str, Any]] = field(default_factory=list)

    def recorded(self, text: str) -> Path:
        """A path of the record as an absolute one of the recorded machine."""
        return self.then / text

    def usual(self, text: str) -> Path:
        """Where a recorded path goes: the package's own files, the same place in the workspace, or `inputs/`."""
        path = self.recorded(text)
        if _SHIPPED in path.as_posix():
            return self.assets / path.as_posix().rpartition(_SHIPPED)[2]
        if path.is_relative_to(self.then):
            return self.now / path.relative_to(self.then)
        return self.now / _FOLDER / path.name

    def use(self, text: str, place: Path) -> None:
        """Use `place` for a path that the configuration writes as `text`."""
        if Path(text).is_absolute() or not place.is_relative_to(self.now):
            self.paths[text] = str(place)
        elif str(place.relative_to(self.now)) != text.rstrip("/"):
            self.paths[text] = str(place.relative_to(self.now))


def restore_data(config: Mapping[str, Any], listing: Mapping[str, Any], places: Places) -> None:
    """Bring back every folder of images that the configuration names; `listing` is the run's `dataset.json`."""
    data = config.get("data") or {}
    folders = dict(_data_folders(data))
    entries = [entry for entry in listing.get("files", []) if isinstance(entry, Mapping)]
    for text, extension in folders.items():
        root = places.recorded(text)
        members = list(_members(entries, root, places, folders))
        if _is_there(places.usual(text), root, members, places):
            places.use(text, places.usual(text))
        elif not _is_there(root, root, members, places) or not members:
            _rebuild(places.usual(text), root, members, places, extension)
            places.use(text, places.usual(text))


def restore_prompts(named: str | None, copy: Path | None, places: Places) -> None:
    """Put the file of previews' prompts back."""
    if named is None or copy is None or not copy.is_file():
        return
    target = places.usual(named)
    if not target.is_file() or target.read_bytes() != copy.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(copy, target)
    places.use(named, target)


def restore_models(
    config: Mapping[str, Any], contents: Mapping[str, str], places: Places, digest_of: ModelDigest
) -> None:
    """Find the base model by its hash, and the files that the configuration starts from."""
    model, network = config.get("model") or {}, config.get("network") or {}
    if model.get("path"):
        _restore_model(str(model["path"]), contents.get("model.path"), places, digest_of)
    for key, text in [("model.vae", model.get("vae")), ("network.weights", network.get("weights"))]:
        if text:
            _restore_file(key, str(text), contents.get(key) if key == "network.weights" else None, places)
    for text in model.get("base_weights") or []:
        _restore_file("model.base_weights", str(text), None, places)


def _restore_model(text: str, digest: str | None, places: Places, digest_of: ModelDigest) -> None:
    recorded, usual = places.recorded(text), places.usual(text)
    beside = [folder / recorded.name for folder in places.search.folders]
    inside = (path for folder in places.search.folders for path in _models_in(folder))
    for candidate in (usual, recorded, *beside, *places.search.folders, *inside):
        if candidate.exists() and (digest is None or digest_of(candidate) == digest):
            places.use(text, candidate.absolute())
            return
    places.missing.append({"path": text, "key": "model.path", "content": digest, "why": "the base model is not here"})


def _models_in(folder: Path) -> Iterator[Path]:
    """What may be a base model below a folder: diffusers folders and single files."""
    yield from (path.parent for path in sorted(folder.rglob("model_index.json")))
    yield from sorted(path for ending in ("safetensors", "ckpt") for path in folder.rglob(f"*.{ending}"))


def _restore_file(key: str, text: str, digest: str | None, places: Places) -> None:
    recorded, usual = places.recorded(text), places.usual(text)
    for candidate in (usual, recorded):
        if candidate.exists() and (digest is None or holds(candidate, digest, None)):
            places.use(text, candidate)
            return
    found = places.search.find(digest, None) if digest is not None else None
    if found is None:
        named = (folder / recorded.name for folder in places.search.folders)
        found = None if digest is not None else next((path for path in named if path.exists()), None)
    if found is not None:
        places.use(text, found.absolute())
    else:
        places.missing.append({"path": text, "key": key, "sha256": digest, "why": "this file is not here"})


def _data_folders(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(folder as the configuration writes it, suffix of its captions)."""
    extension = str(data.get("caption_extension") or ".txt")
    for key in _DATA_KEYS:
        if data.get(key):
            yield str(data[key]), extension
    for subset in data.get("subsets") or []:
        for key in ("dir", "mask_dir"):
            if subset.get(key):
                yield str(subset[key]), str(subset.get("caption_extension") or extension)


def _members(
    entries: list[Mapping[str, Any]], root: Path, places: Places, folders: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """The images and masks below a folder, and below none of the others that lie in it."""
    deeper = [other for text in folders if (other := places.recorded(text)) != root and other.is_relative_to(root)]
    for entry in entries:
        mask = entry.get("mask")
        for one in (entry, mask if isinstance(mask, Mapping) else None):
            path = places.recorded(str(one["path"])) if one is not None else None
            if path is None or not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
                continue
            if not any(path.is_relative_to(other) for other in deeper):
                assert one is not None
                yield {**one, "path": str(path)}


def _is_there(place: Path, root: Path, members: list[Mapping[str, Any]], places: Places) -> bool:
    """Whether a folder has every image and mask of the record; without a record of them, whether it exists."""
    return place.is_dir() and all(
        holds(place / Path(one["path"]).relative_to(root), one["sha256"], one["bytes"]) for one in members
    )


def _rebuild(place: Path, root: Path, members: list[Mapping[str, Any]], places: Places, extension: str) -> None:
    """Put images where they were below their folder, with the captions that were trained on beside them."""
    place.mkdir(parents=True, exist_ok=True)
    for one in members:
        target = place / Path(one["path"]).relative_to(root)
        here = [path for path in (target, Path(one["path"])) if holds(path, one["sha256"], one["bytes"])]
        source = here[0] if here else places.search.find(one["sha256"], one["bytes"])
        if source is None:
            kept = ("path", "sha256", "bytes", "width", "height")
            places.missing.append({**{key: one[key] for key in kept if key in one}, "why": "the image is not here"})
        elif source != target:
            put(source, target)
        if "caption" in one and not target.with_suffix(extension).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_suffix(extension).write_text(one["caption"])
    if not members:
        places.missing.append({"path": str(root), "why": "the record does not list what was in this folder"})
