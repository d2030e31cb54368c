"""What makes two experiments the same one: the config, the contents it reads and the code that runs it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sweeplora.content import ContentHashes
from sweeplora.data.index import Dataset, content_hash
from sweeplora.imports import reachable
from sweeplora.models.folder import ModelFacts
from sweeplora.rundir import UNSIGNED, signature
from sweeplora.sources import module_file, module_of

_LIBRARIES = ("torch", "diffusers", "transformers", "lycoris_lora")
_TRAINING = "sweeplora.train"


@dataclass(frozen=True)
class Identity:
    """A signature, and what it was made of besides the config.

    `contents`: dotted key that holds a path -> hex sha256 of what is there. `code`: the hash of what the
    training imports from here, and the versions of the libraries that compute.
    """

    signature: str
    contents: Mapping[str, str]
    code: Mapping[str, str]


def identify(config: Mapping[str, Any], model: ModelFacts, dataset: Dataset, *, draws: bool) -> Identity:
    """Hash everything that decides a run's result; `draws`: preview images are part of it."""
    hashes = ContentHashes(Path(config["runs"], "cache", "hashes.json"))
    contents = {"model.path": hashes.files(_model_files(model), model.path)}
    contents["data.dir"] = content_hash(dataset)
    if config["model"]["vae"]:
        contents["model.vae"] = hashes.files([*model.vae.weights, *_configs(model.vae.path)], model.vae.path)
    if config["data"].get("val_dir"):
        contents["data.val_dir"] = contents["data.dir"]
    prompts = Path(config["sample"]["prompts"])
    contents["sample.prompts"] = hashes.file(prompts) if draws else "none"
    hashes.save()
    code = _code(tuple(sorted(_targets(config))))
    return Identity(signature(config, contents, code), contents, code)


def _model_files(model: ModelFacts) -> list[Path]:
    """What is loaded from a model's folder: no other variant of the weights, no card."""
    weights = [file for part in model.parts.values() for file in part.weights]
    inside = [file for file in weights if file.is_relative_to(model.path)]
    return sorted([*inside, *(file for name in ("", "*") for file in _configs(model.path, name))])


def _configs(folder: Path, below: str = "") -> list[Path]:
    """JSON files and the tokenizers' merges."""
    return [
        file
        for kind in ("*.json", "merges.txt")
        for file in folder.glob(f"{below}/{kind}" if below else kind)
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _targets(config: Mapping[str, Any]) -> set[str]:
    """Every `_target_` that a training builds."""
    signed = {key: value for key, value in config.items() if key not in UNSIGNED}
    return {node["_target_"] for node in signed.values() if isinstance(node, dict) and "_target_" in node}


@functools.lru_cache(maxsize=64)
def _code(targets: tuple[str, ...]) -> dict[str, str]:
    modules = [module_of(target) for target in targets]
    packages = {module.partition(".")[0] for module in modules} - {_TRAINING.partition(".")[0]}
    versions = {name: found for name in sorted({*_LIBRARIES, *packages}) if (found := _version(name))}
    unversioned = [module for module in modules if module.partition(".")[0] in packages - set(versions)]
    ours = reachable([_TRAINING, *(m for m in modules if m.startswith("sweeplora."))], late=True)
    return {"source": _source_hash([*ours, *unversioned]), **versions}


def _source_hash(modules: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for module in sorted(modules):
        file = module_file(module)
        assert file is not None
        digest.update(f"{module}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    """An installed distribution's version without its build (`+cpu`); None for a user's own module."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
