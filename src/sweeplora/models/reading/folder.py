"""The parts of a diffusers folder: JSON configs and safetensors headers, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class _Place(NamedTuple):
    """A network's folder: `name` in `root`, empty where it is `root` itself. `key`: what the configuration calls it."""

    key: str
    root: Path
    name: str
    mend: str = "give a whole diffusers folder"

    @property
    def path(self) -> Path:
        return self.root / self.name

    def shown(self, file: str) -> str:
        """A file in it, as seen from the root."""
        return (Path(self.name) / file).as_posix()

    def refusal(self, fault: str) -> UserError:
        return UserError(self.key, self.root, fault)


def read_vae(folder: Path) -> Part:
    """The VAE in its own folder, whatever that is called, or in the `vae` folder of a whole model.

    Raises UserError for `model.vae`.
    """
    inside = "vae" if (folder / "vae").is_dir() else ""
    return _read(_Place("model.vae", folder, inside, "give a diffusers VAE folder, or null"), "vae", "")


def read_part(key: str, folder: Path, name: str, prefix: str = "") -> Part:
    """One network of a folder: `unet`, `vae`, `text_encoder` or `text_encoder_2`.

    `prefix`: added to the names in the file to get those in the module. Raises UserError for `key`, naming
    the file that is missing or broken.
    """
    return _read(_Place(key, folder, name), name, prefix)


def _read(place: _Place, kind: str, prefix: str) -> Part:
    """The network of a kind (`unet`, `vae`, or a text encoder) at a place; see `read_part`."""
    config_file = place.path / "config.json"
    if not config_file.is_file():
        raise place.refusal(f"{place.shown(config_file.name)} is missing; {place.mend}")
    files, listing = _weights(place, _STEMS.get(kind, _ENCODER_STEM))
    stored: dict[str, Stored] = {}
    for file in files:
        stored |= _tensors(place, file)
    config = read_json(place.key, place.root, place.shown(config_file.name))
    return Part(place.key, place.path, config, _by_module_name(kind, stored, prefix), (config_file, *listing))


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


def _weights(place: _Place, stem: str) -> tuple[Sequence[Path], Sequence[Path]]:
    """The tensor files, and those files plus the index that lists them; prefers full precision to half."""
    for variant in _VARIANTS:
        whole = place.path / f"{stem}{variant}.safetensors"
        if whole.is_file():
            return [whole], [whole]
        index = place.path / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            listed: Mapping[str, str] = read_json(place.key, place.root, place.shown(index.name))["weight_map"]
            shards = [place.path / shard for shard in sorted(set(listed.values()))]
            return shards, [index, *shards]
    raise place.refusal(f"{place.shown(f'{stem}.safetensors')} is missing; {place.mend}, with safetensors weights")


def _tensors(place: _Place, file: Path) -> dict[str, Stored]:
    name = file.relative_to(place.root).as_posix()
    try:
        return find_tensors(file)
    except FileNotFoundError:
        raise place.refusal(f"{name} is missing; copy the folder again") from None
    except UnreadableFile as fault:
        raise place.refusal(f"{name} {fault}; copy the folder again") from None


def _by_module_name(kind: str, stored: Mapping[str, Stored], prefix: str) -> dict[str, Stored]:
    """The tensors by their names in the current module class.

    transformers has added and dropped `text_model.` in text encoders across versions, and old versions of
    diffusers named the attention of VAEs differently.
    """
    match kind:
        case "unet":
            return dict(stored)
        case "vae":
            return originals.vae(stored)
        case _:
            return originals.clip(stored, prefix)
