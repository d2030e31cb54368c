"""The base model of a run found by its content, with the VAE that the run put into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweeplora.record.restore.places import Places

Digest = Callable[[Path, Path | None], str | None]
"""The content hash of a base model with a VAE of its own; None if it cannot be read."""


def restore_base(text: str, vae: str | None, digest: str | None, places: Places, digest_of: Digest) -> None:
    """Find a base model, and its own VAE, which the one `digest` covers too; by name if there is no digest.

    `text` and `vae` are their paths as the configuration writes them.
    """
    found = _by_name(text, vae, places) if digest is None else _by_content(text, vae, digest, places, digest_of)
    if found is not None:
        places.use(text, found[0].absolute())
        if vae is not None and found[1] is not None:
            places.use(vae, found[1].absolute())
        return
    why = "the base model is not here" if vae is None else "the base model is not here, or not together with model.vae"
    places.missing.append({"path": text, "key": "model.path", "content": digest, "why": why})
    if vae is None:
        return
    named = next((path for path in places.named(vae) if path.exists()), None)
    if named is None:
        places.missing.append({"path": vae, "key": "model.vae", "why": "this VAE is not here"})
    else:
        places.use(vae, named.absolute())


def _by_name(text: str, vae: str | None, places: Places) -> tuple[Path, Path | None] | None:
    model = next((path for path in places.named(text) if path.exists()), None)
    own = None if vae is None else next((path for path in places.named(vae) if path.exists()), None)
    return None if model is None or (own is None and vae is not None) else (model, own)


def _by_content(
    text: str, vae: str | None, digest: str, places: Places, digest_of: Digest
) -> tuple[Path, Path | None] | None:
    """The first model and VAE with the digest, those of the recorded names first.

    Most files are neither: a model that no good VAE can be read with is passed over, and so is the reverse.
    """
    good: Path | None = None
    bad = set[Path | None]()
    for model in _once(_models(text, places)):
        if good is not None and digest_of(model, good) is None:
            continue
        answers = dict[Path | None, str | None]()
        for own in [None] if vae is None else _once(_vaes(vae, places)):
            if own in bad:
                continue
            answers[own] = digest_of(model, own)
            if answers[own] == digest:
                return model, own
        good = next((own for own, found in answers.items() if found is not None and own is not None), good)
        if any(found is not None for found in answers.values()):
            bad |= {own for own, found in answers.items() if found is None}
    return None


def _once(paths: Iterator[Path]) -> Iterator[Path]:
    seen = set[Path]()
    for path in paths:
        if path not in seen and path.exists():
            seen.add(path)
            yield path


def _models(text: str, places: Places) -> Iterator[Path]:
    """What may be a base model: diffusers folders and single files."""
    yield from places.named(text)
    for folder in places.search.folders:
        yield folder
        yield from (path.parent for path in sorted(folder.rglob("model_index.json")))
        yield from _single_files(folder)


def _vaes(text: str, places: Places) -> Iterator[Path]:
    """What may be a VAE: folders with the configuration of one, and single files."""
    yield from places.named(text)
    for folder in places.search.folders:
        yield from (path.parent for path in sorted(folder.rglob("config.json")) if _is_vae(path))
        yield from _single_files(folder)


def _single_files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for ending in ("safetensors", "ckpt") for path in folder.rglob(f"*.{ending}"))


def _is_vae(config: Path) -> bool:
    try:
        content: Any = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("_class_name")).startswith("Autoencoder")
