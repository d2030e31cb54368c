"""What makes two experiments identical: the config, the contents that it reads and the code that runs it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sweeplora.check.base_files import refuse_damaged
from sweeplora.config.imports import is_own, is_users, reachable
from sweeplora.config.sources import module_file, module_of, source_of, text_that_runs
from sweeplora.content import ContentHashes, read_memo, state_of_files, write_memo
from sweeplora.data.dataset import Dataset, content_hash
from sweeplora.launch.launcher import TRAINING
from sweeplora.models.facts import ModelFacts
from sweeplora.networks.algorithms import algorithm_of
from sweeplora.networks.file.kinds import file_kinds, shipped_kinds
from sweeplora.rundir.signature import UNSIGNED, signature

_LIBRARIES = ("torch", "diffusers", "transformers", "lycoris_lora")
_FORMAT = 1
_MOST_REMEMBERED = 16


@dataclass(frozen=True)
class Identity:
    """A signature, and what it was computed from besides the config.

    `contents`: dotted key that holds a path -> hex sha256 of the content there. `code`: the hash of the code that the
    training imports from this package and from a user's files (without comments and docstrings), and the versions
    of the libraries that compute.
    """

    signature: str
    contents: Mapping[str, str]
    code: Mapping[str, str]


def identify(config: Mapping[str, Any], model: ModelFacts, dataset: Dataset, *, draws: bool) -> Identity:
    """Hash everything that determines a run's result; `draws`: preview images are part of it.

    Raises UserError for a model's file that is damaged: this is where all of it is read.
    """
    cache = Path(config["runs"], "cache")
    hashes = ContentHashes(cache / "hashes.json")
    refuse_damaged(model, hashes, cache / "whole.json")
    contents = {"data.dir": content_hash(dataset), **_models(config, model, hashes)}
    for key in ("val_dir", "reg_dir", "mask_dir", "subsets"):
        if config["data"].get(key):
            contents[f"data.{key}"] = contents["data.dir"]
    if config["network"]["weights"]:
        contents["network.weights"] = hashes.file(Path(config["network"]["weights"]))
    if config["train"]["resume"]:
        contents["train.resume"] = hashes.file(Path(config["train"]["resume"]))
    prompts = config["sample"]["prompts"]
    if not draws:
        contents["sample.prompts"] = "none"
    elif isinstance(prompts, str):
        contents["sample.prompts"] = hashes.file(Path(prompts))
    hashes.save()
    code = _code(tuple(sorted({*_targets(config), *_adapters(config)})), cache / "code.json")
    return Identity(signature(config, contents, code), contents, code)


def _models(config: Mapping[str, Any], model: ModelFacts, hashes: ContentHashes) -> dict[str, str]:
    """Hashes for every model key that holds a path; that of `model.path` covers everything read from it."""
    node = config["model"]
    found = {"model.path": model_digest(model, hashes)}
    if node["vae"]:
        found["model.vae"] = found["model.path"]
    if node["base_weights"]:
        found["model.base_weights"] = hashes.all(Path(file) for file in node["base_weights"])
    return found


def model_digest(model: ModelFacts, hashes: ContentHashes) -> str:
    """Hex sha256 over the contents of every file that determines a model, wherever the files are."""
    return hashes.all(sorted(model.files, key=hashes.file))


def _targets(config: Mapping[str, Any]) -> set[str]:
    """Every `_target_` that a training builds, including nested ones."""
    return {target for key, value in config.items() if key not in UNSIGNED for target in _targets_in(value)}


def _adapters(config: Mapping[str, Any]) -> set[str]:
    """The classes that a training looks up by name: the algorithm's adapter, and those of files that it may read."""
    algorithm = algorithm_of(config["network"]["_target_"])
    reads_files = config["network"]["weights"] or config["model"]["base_weights"]
    return {algorithm.ADAPTER, *(kind.adapter for kind in (file_kinds() if reads_files else shipped_kinds()))}


def _targets_in(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield value["_target_"]
        for inner in value.values():
            yield from _targets_in(inner)


@functools.lru_cache(maxsize=64)
def _code(targets: tuple[str, ...], memo: Path) -> dict[str, str]:
    modules = [module_of(target) for target in targets]
    packages = {module.partition(".")[0] for module in modules} - {TRAINING.partition(".")[0]}
    versions = {name: found for name in sorted({*_LIBRARIES, *packages}) if (found := _version(name))}
    unversioned = {module for module in modules if module.partition(".")[0] in packages - set(versions)}
    written = [TRAINING, *(module for module in modules if _is_read(module.partition(".")[0]))]
    return {"source": _source(frozenset(written), frozenset(unversioned), memo), **versions}


def _source(written: frozenset[str], unversioned: frozenset[str], memo: Path) -> str:
    """The hash of the code that `written` modules run, and of the `unversioned` ones.

    Reading it takes a second of a processor, so it is looked up in the memo while no file of it has changed, and no
    folder of these: a new file may take another one's place.
    """
    begin = [[module, str(module_file(module))] for module in sorted(written | unversioned)]
    key, known = json.dumps([os.getcwd(), begin]), read_memo(memo, _FORMAT)
    entry = known.get(key)
    if entry is not None and state_of_files(map(Path, entry["files"])) == entry["state"]:
        return str(entry["source"])
    modules = reachable(written, late=True, within=_is_read) | unversioned
    files = {file for module in modules if (file := module_file(module)) is not None}
    paths = sorted({*files, *(file.parent for file in files)})
    state, source = state_of_files(paths), _source_hash(modules)
    if state_of_files(paths) == state:
        kept = {**known, key: {"files": [str(path) for path in paths], "state": state, "source": source}}
        write_memo(memo, _FORMAT, dict(list(kept.items())[-_MOST_REMEMBERED:]))
    return source


def _is_read(package: str) -> bool:
    """Whether a package counts by its source rather than its version: this one, and a user's own modules."""
    return is_own(package) or is_users(package)


def _source_hash(modules: Iterable[str]) -> str:
    """Hex sha256 over the code of each module without comments and docstrings; of its bytes if it is compiled."""
    digest = hashlib.sha256()
    for module in sorted(modules):
        source, file = source_of(module), module_file(module)
        digest.update(f"{module}\0".encode())
        if source is not None:
            digest.update(text_that_runs(source).encode("utf-8", "surrogatepass"))
        elif file is not None and file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    """An installed distribution's version without its build tag (`+cpu`); None for a user's own module."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
