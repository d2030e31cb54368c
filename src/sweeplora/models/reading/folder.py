"""The parts of a diffusers folder: JSON configs and safetensors headers, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.models.architecture import Architecture
from sweeplora.models.facts import Contents, Part
from sweeplora.models.reading import originals
from sweeplora.models.text.tokens import TokenizerFiles
from sweeplora.tensors.find import find_tensors
from sweeplora.tensors.stored import Stored, UnreadableFile

_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
_ENCODER_STEM = "model"
_VARIANTS = ("", ".fp16")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def read_model(path: Path, architecture: Architecture, *, own_vae: bool) -> Contents:
    """The parts of a model's folder; `own_vae`: including its VAE. Raises UserError for `model.path`."""
    index = read_json("model.path", path, "model_index.json")
    unet = read_part("model.path", path, "unet")
    encoders = tuple(read_part("model.path", path, one.part, one.prefix) for one in architecture.encoders)
    misfit = architecture.misfit(unet.config, encoders[0].config)
    if misfit is not None:
        raise UserError("model.path", path, misfit)
    tokenizers = [read_tokenizer(path, one.tokenizer) for one in architecture.encoders]
    return Contents(
        unet=unet,
        vae=read_part("model.path", path, "vae") if own_vae else None,
        text_encoders=encoders,
        tokenizers=tuple(tokenizer for tokenizer, _ in tokenizers),
        tokenizer_files=tuple(file for _, files in tokenizers for file in files),
        scheduler=read_json("model.path", path, "scheduler/scheduler_config.json"),
        force_zeros=bool(index.get("force_zeros_for_empty_prompt", architecture.force_zeros)),
        files=(path / "model_index.json", path / "scheduler/scheduler_config.json"),
    )


def read_vae(folder: Path) -> Part:
    """The VAE in its own folder, or in the `vae` folder of a whole model; raises UserError for `model.vae`."""
    inside = folder / "vae"
    path = inside if inside.is_dir() else folder
    if not (path / "config.json").is_file():
        raise UserError("model.vae", folder, "config.json is missing; give a diffusers VAE folder, or null")
    return _read_part("model.vae", path, "vae")


def read_part(key: str, folder: Path, name: str, prefix: str = "") -> Part:
    """One network of a folder: `unet`, `vae`, `text_encoder` or `text_encoder_2`.

    `prefix`: added to the names in the file to get those in the module. Raises UserError for `key`, naming
    the file that is missing or broken.
    """
    if not (folder / name / "config.json").is_file():
        raise UserError(key, folder, f"{name}/config.json is missing; give a whole diffusers folder")
    return _read_part(key, folder / name, name, prefix)


def _read_part(key: str, path: Path, part: str, prefix: str = "") -> Part:
    """The network `part` of a model in the folder `path`, whatever its name."""
    files, listing = _weights(key, path, part)
    stored: dict[str, Stored] = {}
    for file in files:
        stored |= _tensors(key, path.parent, file)
    config = read_json(key, path.parent, f"{path.name}/config.json")
    return Part(key, path, config, _by_module_name(part, stored, prefix), (path / "config.json", *listing))


def read_tokenizer(folder: Path, name: str) -> tuple[TokenizerFiles, tuple[Path, ...]]:
    """A tokenizer's folder and its files; raises UserError for `model.path` if they are incomplete."""
    found = {file.name: file for file in (folder / name).glob("*")}
    if "tokenizer.json" not in found and not {"vocab.json", "merges.txt"} <= found.keys():
        mend = f"{name}/tokenizer.json (or vocab.json with merges.txt) is missing; give a whole diffusers folder"
        raise UserError("model.path", folder, mend)
    return TokenizerFiles(folder / name), tuple(found[name] for name in _TOKENIZER_FILES if name in found)


def read_json(key: str, folder: Path, name: str) -> dict[str, Any]:
    """A JSON object from a file of a folder; raises UserError for `key`."""
    if (folder / name).exists() and not (folder / name).is_file():  # opening a pipe would wait for its other end
        raise UserError(key, folder, f"{name} is no regular file; copy the folder again")
    try:
        content = json.loads((folder / name).read_text())
    except FileNotFoundError:
        raise UserError(key, folder, f"{name} is missing; give a whole diffusers folder") from None
    except ValueError:
        raise UserError(key, folder, f"{name} is no JSON; copy the folder again") from None
    if not isinstance(content, dict):
        raise UserError(key, folder, f"{name} holds no JSON object; copy the folder again")
    return content


def _weights(key: str, path: Path, part: str) -> tuple[Sequence[Path], Sequence[Path]]:
    """The tensor files, and those files plus the index that lists them; prefers full precision to half."""
    stem, folder = _STEMS.get(part, _ENCODER_STEM), path.parent
    for variant in _VARIANTS:
        whole = path / f"{stem}{variant}.safetensors"
        if whole.is_file():
            return [whole], [whole]
        index = path / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            listed: Mapping[str, str] = read_json(key, folder, f"{path.name}/{index.name}")["weight_map"]
            shards = [path / shard for shard in sorted(set(listed.values()))]
            return shards, [index, *shards]
    mend = f"{path.name}/{stem}.safetensors is missing; give a whole diffusers folder with safetensors weights"
    raise UserError(key, folder, mend)


def _tensors(key: str, folder: Path, file: Path) -> dict[str, Stored]:
    name = file.relative_to(folder).as_posix()
    try:
        return find_tensors(file)
    except FileNotFoundError:
        raise UserError(key, folder, f"{name} is missing; copy the folder again") from None
    except UnreadableFile as fault:
        raise UserError(key, folder, f"{name} {fault}; copy the folder again") from None


def _by_module_name(part: str, stored: Mapping[str, Stored], prefix: str) -> dict[str, Stored]:
    """The tensors by their names in the current module class.

    transformers has added and dropped `text_model.` in text encoders across versions, and old versions of
    diffusers named the attention of VAEs differently.
    """
    match part:
        case "unet":
            return dict(stored)
        case "vae":
            return originals.vae(stored)
        case _:
            return originals.clip(stored, prefix)
