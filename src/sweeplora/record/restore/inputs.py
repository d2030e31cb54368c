"""The inputs of a run besides its data brought back: the prompts, the base model, and the files that it starts from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeplora.record.restore.places import Places
from sweeplora.record.restore.search import holds

ModelDigest = Callable[[Path], str | None]
"""The content hash of a base model at a path as a signature has it; None if there is no such model."""


def restore_prompts(named: str | None, copy: Path | None, places: Places) -> None:
    """Put the file of previews' prompts back."""
    if named is None or copy is None or not copy.is_file():
        return
    target = places.usual(named)
    if not places.owns(target) or target.is_dir():
        target = places.fresh(named)
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
