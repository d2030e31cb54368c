"""Checks that a file fits the network that it initialises, or the model that it is merged into; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.networks.algorithms import algorithm_of
from sweeplora.networks.file.held import Held, read
from sweeplora.networks.file.kinds import file_kinds
from sweeplora.networks.file_kind import NORM
from sweeplora.networks.keys import Selected, Shaped
from sweeplora.tensors.safetensors_header import has_own_hash


def check(network: Mapping[str, Any], facts: Shaped, chosen: Mapping[str, Selected]) -> list[str]:
    """Raise UserError if the config's `network.weights` cannot initialise the network that the config describes.

    `chosen`: all layers that the config selects, by their keys. Only the file is read. Errors: a missing or
    unreadable file, layers that the model lacks or the preset does not select, another algorithm, other ranks.
    Returns warnings about a file that can be used, one line each.
    """
    if network["weights"] is None:
        return []
    path = Path(network["weights"])
    algorithm = algorithm_of(network["_target_"])
    held = read("network.weights", path, facts, algorithm)
    _refuse_other_kinds(path, held, algorithm.FILE.name, bool(network["train_norm"]))
    _refuse_unselected(path, held, chosen)
    _refuse_other_forms(path, held, network)
    if not _takes_ranks(network):
        _refuse_other_ranks(path, held, network.get("dim"), chosen)
    return [*_left_out(path, held, chosen, _takes_ranks(network)), *hash_notices("network.weights", [path])]


def hash_notices(key: str, paths: Iterable[Path]) -> list[str]:
    """A warning for each file whose numbers are not those that its own header holds the hash of."""
    return [
        f"{key}={path}: its numbers are not those that its header has the hash of (sshs_model_hash): it is damaged, "
        "or a program changed them"
        for path in paths
        if path.suffix.lower() == ".safetensors" and not has_own_hash(path)
    ]


def check_mergeable(key: str, paths: Iterable[Path], facts: Shaped) -> None:
    """Raise UserError for `key` if one of the files cannot be merged into the model."""
    for path in paths:
        refuse_unmergeable(key, path, read(key, path, facts))


def refuse_unmergeable(key: str, path: Path, held: Mapping[str, Held]) -> None:
    """Raise UserError for `key` if a file holds layers that cannot be merged into a model."""
    other = next((one.kind.name for one in held.values() if not one.kind.mergeable), None)
    if other is not None:
        known = ", ".join(kind.name for kind in file_kinds() if kind.mergeable)
        raise UserError(key, path, f"holds {other} layers, which cannot be merged; {known} can")


def _refuse_other_kinds(path: Path, held: Mapping[str, Held], wanted: str, norms: bool) -> None:
    found = Counter(one.kind.name for one in held.values())
    if found.pop(NORM.name, 0) and not norms:
        raise UserError("network.weights", path, "holds norms; set network.train_norm=true")
    for kind in found:
        if kind != wanted:
            mend = f"holds {kind} layers, the network is {wanted}; choose the algorithm of the file"
            raise UserError("network.weights", path, mend)


def _refuse_unselected(path: Path, held: Mapping[str, Held], chosen: Mapping[str, Selected]) -> None:
    layers = _without_norms(held)
    left_out = [key for key in layers if key not in chosen]
    if left_out:
        mend = (
            f"{len(left_out)} of its {len(layers)} layers do not train here, first {left_out[0]}; see network.preset, "
            "network.unet and network.text_encoders, or merge the file with model.base_weights"
        )
        raise UserError("network.weights", path, mend)


def _refuse_other_forms(path: Path, held: Mapping[str, Held], network: Mapping[str, Any]) -> None:
    layers = _without_norms(held).values()
    dora = any(one.dora for one in layers)
    if "dora" in network and dora != network["dora"]:
        mend = f"the file {'has' if dora else 'has no'} dora_scale; use {str(dora).lower()}"
        raise UserError("network.dora", network["dora"], mend)
    directions = {one.dora_on_output for one in layers if one.dora}
    if directions and network["wd_on_output"] not in directions:
        mend = f"the file's norms are taken per {'input' if network['wd_on_output'] else 'output'}; use the other"
        raise UserError("network.wd_on_output", network["wd_on_output"], mend)
    if "use_tucker" in network and any(one.tucker for one in layers) and not network["use_tucker"]:
        raise UserError("network.use_tucker", False, "the file has convolutions in Tucker form; use true")


def _left_out(path: Path, held: Mapping[str, Held], chosen: Mapping[str, Selected], takes_ranks: bool) -> list[str]:
    """A warning if a file initialises only some of the layers that the config selects."""
    count = len(_without_norms(held))
    if count == len(chosen):
        return []
    rest = "only these train" if takes_ranks else "the others start anew"
    return [f"network.weights={path} holds {count} of the {len(chosen)} layers that the network selects: {rest}"]


def _without_norms(held: Mapping[str, Held]) -> dict[str, Held]:
    return {key: one for key, one in held.items() if one.kind != NORM}


def _takes_ranks(network: Mapping[str, Any]) -> bool:
    """Whether the ranks come from the file; an algorithm without ranks has no such option."""
    return "dim_from_weights" in network and bool(network["dim_from_weights"])


def _refuse_other_ranks(path: Path, held: Mapping[str, Held], dim: object, chosen: Mapping[str, Selected]) -> None:
    for key, one in _without_norms(held).items():
        wanted = chosen[key].rank
        if wanted is None or one.whole or one.rank in (None, wanted.dim):
            continue
        mend = (
            f"{key} has rank {one.rank} in the file and {wanted.dim} here (network.dim={dim}); give the file's ranks "
            "or set network.dim_from_weights=true"
        )
        raise UserError("network.weights", path, mend)
