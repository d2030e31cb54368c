"""Refuses, by name, network options that would have no effect or do not fit the model; no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sweeplora.errors import UserError

UNET_ONLY = ("unet-only", "unet-transformer-only", "unet-convblock-only")
WITHOUT_KERNELS = ("full-lin", "attn-mlp", "attn-only", "unet-transformer-only")
WITHOUT_NORMS = ("attn-only",)
OF_KERNELS = ("conv_dim", "conv_alpha", "conv_block_dims", "conv_block_alphas", "use_tucker")
OF_BLOCKS = ("block_dims", "block_alphas")
OF_RANKS = ("conv_dim", "conv_alpha", *OF_BLOCKS, "conv_block_dims", "conv_block_alphas")


def check_boft(dim: int, shapes: Iterable[tuple[int, ...]]) -> None:
    """Raise UserError if BOFT cannot split a layer's output channels into 2^n blocks of an even size up to dim."""
    odd = {_odd_part(shape[0]) for shape in shapes if shape[0] % 2 == 0}
    least = 2 * max(odd, default=1)
    if least > dim:
        mend = f"BOFT splits the outputs into 2^n blocks of an even size; a layer of this model needs {least}"
        raise UserError("network.dim", dim, mend)


def _odd_part(number: int) -> int:
    return number // (number & -number)


def refuse(options: object, keys: Iterable[str], mend: str) -> None:
    """Raise UserError for the first of these options that exists and is set."""
    for key in keys:
        value = vars(options).get(key)
        if value not in (None, False, 0):
            raise UserError(f"network.{key}", value, mend)


def refuse_places(algorithm: Any) -> None:
    preset = algorithm.preset
    if not (algorithm.unet or algorithm.text_encoders):
        raise UserError("network.unet", False, "nothing would train; use true, or network.text_encoders=true")
    if algorithm.text_encoders and preset in UNET_ONLY:
        mend = f"has no effect with network.preset={preset}; use another preset, or false"
        raise UserError("network.text_encoders", True, mend)
    if algorithm.dim_from_weights and not (algorithm.weights and "alpha" in vars(algorithm)):
        why = "this algorithm has no ranks" if algorithm.weights else "no network.weights to take ranks from"
        raise UserError("network.dim_from_weights", True, f"{why}; use false")
    if algorithm.train_norm and (preset in WITHOUT_NORMS or not algorithm.unet):
        why = f"network.preset={preset} has no norms" if algorithm.unet else "network.unet=false: norms are the U-Net's"
        raise UserError("network.train_norm", True, f"{why}; use false")


def refuse_ranks(algorithm: Any) -> None:
    if not algorithm.unet:
        idle = (*OF_KERNELS, *OF_BLOCKS)
        refuse(algorithm, idle, "has no effect with network.unet=false; leave it out")
    if algorithm.preset in WITHOUT_KERNELS:
        mend = f"network.preset={algorithm.preset} has no convolutions above 1x1; use preset full, or leave it out"
        refuse(algorithm, OF_KERNELS, mend)
    if algorithm.dim_from_weights:
        refuse(algorithm, OF_RANKS, "has no effect with network.dim_from_weights; leave one of the two out")


def refuse_rank_dropout(options: Any) -> None:
    if options.rank_dropout_scale and not options.rank_dropout:
        raise UserError("network.rank_dropout_scale", True, "has no effect without network.rank_dropout; use false")


def refuse_dora(options: Any) -> None:
    if options.wd_on_output and not options.dora:
        raise UserError("network.wd_on_output", True, "has no effect without network.dora; use false")
    if options.bypass_mode and options.dora:
        raise UserError("network.bypass_mode", True, "DoRA rescales the whole weight; use null or false")


def refuse_beside(options: Any, *keys: str) -> None:
    if options.bypass_mode is False:
        refuse(options, keys, "has no effect with network.bypass_mode=false; use null or true")
