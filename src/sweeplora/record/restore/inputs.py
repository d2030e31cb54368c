"""The inputs of a run besides its data brought back: the prompts, the base model, and the files that it starts from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

from sweeplora.content import ContentHashes
from sweeplora.record.restore.base_model import restore_base
from sweeplora.record.restore.places import Places
from sweeplora.record.restore.search import holds

_MOST_TRIED = 200_000
"""Combinations of files that are compared with one hash of several."""

ModelDigest = Callable[[Mapping[str, Any], Path, Path | None], str | None]
"""The content hash of a base model at a path with a VAE of its own, as a signature has it; None if it cannot be read.

First come keys of the model's configuration that have another value here: the files to merge into it.
"""


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
    model = config.get("model") or {}
    merged = [str(text) for text in model.get("base_weights") or []]
    placed = {"base_weights": _restore_merged(merged, contents.get("model.base_weights"), places)} if merged else {}
    if model.get("path"):
        vae = None if model.get("vae") is None else str(model["vae"])
        restore_base(str(model["path"]), vae, contents.get("model.path"), places, partial(digest_of, placed))
    for section, name in (("network", "weights"), ("train", "resume")):
        text = (config.get(section) or {}).get(name)
        if text:
            _restore_file(f"{section}.{name}", str(text), contents.get(f"{section}.{name}"), places)


def _restore_merged(texts: Sequence[str], digest: str | None, places: Places) -> list[str]:
    """Find the files that are merged into the model; `digest` is of all of them, in order. Returns where they are."""
    named = [[path for path in places.named(text) if path.is_file()] for text in texts]
    chosen: Sequence[Path | None] = [next(iter(paths), None) for paths in named]
    if digest is not None:
        every, hashes = list(places.search.weights()), ContentHashes(Path(os.devnull))
        combinations = product(*(dict.fromkeys([*paths, *every]) for paths in named))
        found = next((some for some in islice(combinations, _MOST_TRIED) if hashes.all(some) == digest), None)
        if found is None and None not in chosen:
            why = "the files of model.base_weights here are not those of the run, and those are not found"
            places.missing.append(
                {"path": ", ".join(texts), "key": "model.base_weights", "content": digest, "why": why}
            )
        chosen = found or chosen
    for text, path in zip(texts, chosen, strict=True):
        if path is None:
            missing = {"path": text, "key": "model.base_weights", "content": digest, "why": "this file is not here"}
            places.missing.append(missing)
        else:
            places.use(text, path.absolute())
    return [str(path or places.recorded(text)) for text, path in zip(texts, chosen, strict=True)]


def _restore_file(key: str, text: str, digest: str | None, places: Places) -> None:
    """Find a file by its content, or by its name if its hash is not recorded."""
    named = (path for path in places.named(text) if path.is_file())
    found = next((path for path in named if digest is None or holds(path, digest, None)), None)
    if found is None and digest is not None:
        found = places.search.find(digest, None)
    if found is not None:
        places.use(text, found.absolute())
    else:
        places.missing.append({"path": text, "key": key, "sha256": digest, "why": "this file is not here"})
