"""Whether a network's file fits the network and the model that it is to start or be merged into; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.networks.blocks import Rank, Ranks, encoder_rank, ranks_in, ranks_of
from sweeplora.networks.file.held import MERGEABLE, Held, kind_of, read
from sweeplora.networks.keys import Shaped, encoder_layers, selected, unet_layers


def check(network: Mapping[str, Any], facts: Shaped) -> None:
    """Raise UserError where the config's `network.weights` cannot start the network that it describes.

    Everything is told from headers: a file that is missing or unreadable, layers that are in no such model or
    that the preset does not select, another algorithm, other ranks.
    """
    if network["weights"] is None:
        return
    path = Path(network["weights"])
    held = read("network.weights", path, facts)
    wanted = kind_of(network["_target_"])
    _refuse_other_kinds(path, held, wanted, bool(network["train_norm"]))
    _refuse_unselected(path, held, network, facts)
    _refuse_other_forms(path, held, network)
    if not _takes_ranks(network):
        _refuse_other_ranks(path, held, network, facts)


def check_mergeable(key: str, paths: Iterable[Path], facts: Shaped) -> None:
    """Raise UserError for `key` where one of the files cannot be merged into the model."""
    for path in paths:
        other = [one.kind for one in read(key, path, facts).values() if one.kind not in MERGEABLE]
        if other:
            mend = f"holds {other[0]} layers, which cannot be merged; {', '.join(MERGEABLE)} can"
            raise UserError(key, path, mend)


def _refuse_other_kinds(path: Path, held: Mapping[str, Held], wanted: str, norms: bool) -> None:
    found = Counter(one.kind for one in held.values())
    if found.pop("norm", 0) and not norms:
        raise UserError("network.weights", path, "holds norms; set network.train_norm=true")
    for kind in found:
        if kind != wanted:
            mend = f"holds {kind} layers, the network is {wanted}; choose the algorithm of the file"
            raise UserError("network.weights", path, mend)


def _refuse_unselected(path: Path, held: Mapping[str, Held], network: Mapping[str, Any], facts: Shaped) -> None:
    ranked = [key for key, one in held.items() if one.kind != "norm"]
    chosen = selected(facts, network)
    left_out = [key for key in ranked if key not in chosen]
    if left_out:
        mend = (
            f"{len(left_out)} of its {len(ranked)} layers do not train here, first {left_out[0]}; see network.preset, "
            "network.unet and network.text_encoders, or merge the file with model.base_weights"
        )
        raise UserError("network.weights", path, mend)


def _refuse_other_forms(path: Path, held: Mapping[str, Held], network: Mapping[str, Any]) -> None:
    ranked = [one for one in held.values() if one.kind != "norm"]
    dora = any(one.dora for one in ranked)
    if "dora" in network and dora != network["dora"]:
        mend = f"the file {'has' if dora else 'has no'} dora_scale; use {str(dora).lower()}"
        raise UserError("network.dora", network["dora"], mend)
    directions = {one.dora_on_output for one in ranked if one.dora}
    if directions and network["wd_on_output"] not in directions:
        mend = f"the file's norms are taken per {'input' if network['wd_on_output'] else 'output'}; use the other"
        raise UserError("network.wd_on_output", network["wd_on_output"], mend)
    if "use_tucker" in network and any(one.tucker for one in ranked) and not network["use_tucker"]:
        raise UserError("network.use_tucker", False, "the file has convolutions in Tucker form; use true")


def _takes_ranks(network: Mapping[str, Any]) -> bool:
    """Whether the file says the ranks; an algorithm without ranks has no such option."""
    return "dim_from_weights" in network and bool(network["dim_from_weights"])


def _refuse_other_ranks(path: Path, held: Mapping[str, Held], network: Mapping[str, Any], facts: Shaped) -> None:
    ranks = ranks_in(network)
    if ranks is None:
        return
    wanted = _ranks_by_key(ranks, network["preset"], facts)
    for key, one in held.items():
        if one.kind == "norm" or one.whole or one.rank is None:
            continue
        if one.rank != wanted[key].dim:
            mend = (
                f"{key} has rank {one.rank} in the file and {wanted[key].dim} here (network.dim={ranks.dim}); give the "
                "file's ranks or set network.dim_from_weights=true"
            )
            raise UserError("network.weights", path, mend)


def _ranks_by_key(ranks: Ranks, preset: str, facts: Shaped) -> dict[str, Rank]:
    shapes, layout, found = facts.unet_shapes(), facts.layout, {}
    for name, key in unet_layers(shapes, preset, layout).items():
        rank = ranks_of(ranks, layout, name, shapes[name])
        if rank is not None:
            found[key] = rank
    for encoder, prefix in zip(facts.encoder_shapes(), layout.encoder_prefixes, strict=True):
        found |= dict.fromkeys(encoder_layers(encoder, preset, prefix).values(), encoder_rank(ranks))
    return found
