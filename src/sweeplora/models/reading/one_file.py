"""The parts of a model or a VAE in a single file, `.safetensors` or `.ckpt`, in the original layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.models.architecture import Architecture, Encoder
from sweeplora.models.facts import Contents, Part
from sweeplora.models.reading import inferred_config, originals, tensor_names
from sweeplora.models.reading.recognition import kind_of
from sweeplora.models.text.tokens import TokenizerFiles
from sweeplora.models.text.vocabulary import byte_pairs
from sweeplora.tensors.find import find_tensors
from sweeplora.tensors.stored import Stored, UnreadableFile

Tensors = Mapping[str, Stored]

_PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_VOCABULARY = Path(__file__).resolve().parents[2] / "assets" / "clip" / "bpe_simple_vocab_16e6.txt.gz"
_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_V_PREDICTION, _ZERO_TERMINAL_SNR = "v_pred", "ztsnr"
"""Marker tensors of v-prediction models (NoobAI)."""


def read_model(path: Path, architecture: Architecture, *, own_vae: bool) -> Contents:
    """The parts of a single-file model; `own_vae`: including its VAE. Raises UserError for `model.path`."""
    tensors = read_tensors("model.path", path)
    _expect_family(path, tensors, architecture)
    family = architecture.layout.name
    if own_vae and not _below(tensors, _VAE):
        raise UserError("model.path", path, "it holds no VAE; give one with model.vae")
    encoders = [_encoder(path, tensors, architecture, one) for one in architecture.encoders]
    unet = _unet(path, tensors, architecture, encoders[-1].config["projection_dim"])
    scheduler = inferred_config.shared(family, "scheduler")
    if _V_PREDICTION in tensors:
        scheduler["prediction_type"] = "v_prediction"
    if _ZERO_TERMINAL_SNR in tensors:
        scheduler["rescale_betas_zero_snr"] = True
    return Contents(
        unet=unet,
        vae=_vae("model.path", path, _below(tensors, _VAE), family) if own_vae else None,
        text_encoders=tuple(encoders),
        tokenizers=tuple(TokenizerFiles(None, one.padding) for one in architecture.encoders),
        tokenizer_files=(_VOCABULARY,),
        scheduler=scheduler,
        force_zeros=architecture.force_zeros,
        files=(path, inferred_config.config_file(family, "scheduler")),
    )


def read_vae(path: Path, family: str) -> Part:
    """The VAE in a separate file or in a whole model's file; raises UserError for `model.vae`."""
    tensors = read_tensors("model.vae", path)
    inside = _below(tensors, _VAE) or tensors
    if "decoder.conv_in.weight" not in inside:
        raise UserError("model.vae", path, f"it is {kind_of(tensors)}; give a VAE, or null")
    return _vae("model.vae", path, inside, family)


def read_tensors(key: str, path: Path) -> dict[str, Stored]:
    """Every tensor of a `.safetensors` or pickled file; raises UserError for `key`."""
    if path.suffix not in (".safetensors", *_PICKLES):
        raise UserError(key, path, "give a diffusers folder, a .safetensors or a .ckpt file")
    try:
        return find_tensors(path)
    except UnreadableFile as fault:
        raise UserError(key, path, f"the file {fault}; get it again, best as .safetensors") from None


def _expect_family(path: Path, tensors: Tensors, architecture: Architecture) -> None:
    wanted = (_UNET, *(encoder.original for encoder in architecture.encoders))
    if not all(any(name.startswith(prefix) for name in tensors) for prefix in wanted):
        raise UserError("model.path", path, f"it is {kind_of(tensors)}; give an {architecture.title} model")
    first = tensors.get(f"{_UNET}input_blocks.0.0.weight")
    channels = inferred_config.shared(architecture.layout.name, "unet")["in_channels"]
    if first is not None and first.shape[1] != channels:
        mend = f"its U-Net takes {first.shape[1]} channels, as inpainting and editing models do"
        raise UserError("model.path", path, f"{mend}; give a plain {architecture.title} model")


def _unet(path: Path, tensors: Tensors, architecture: Architecture, pooled: int) -> Part:
    family = architecture.layout.name
    named = originals.unet(_below(tensors, _UNET))
    config = _deduced(
        "model.path", path, lambda: inferred_config.unet_config(family, named, architecture.heads, pooled)
    )
    wanted = tensor_names.unet_names(config)
    foreign = sorted(set(named) - set(wanted))
    if foreign:
        mend = f"its U-Net has {len(foreign)} tensors that {architecture.title}'s has not, first {foreign[0]}"
        raise UserError("model.path", path, f"{mend}; give an {architecture.title} model")
    return _part("model.path", path, config, _chosen("model.path", path, named, wanted), (family, "unet"))


def _vae(key: str, path: Path, tensors: Tensors, family: str) -> Part:
    named = originals.vae(tensors)
    config = _deduced(key, path, lambda: inferred_config.vae_config(family, named))
    return _part(key, path, config, _chosen(key, path, named, tensor_names.vae_names(config)), (family, "vae"))


def _encoder(path: Path, tensors: Tensors, architecture: Architecture, encoder: Encoder) -> Part:
    family, prefix = architecture.layout.name, encoder.prefix
    convert = originals.clip if encoder.style == "clip" else originals.open_clip
    named = convert(_below(tensors, encoder.original), prefix)
    config = _deduced("model.path", path, lambda: inferred_config.encoder_config(family, encoder.part, named, prefix))
    known = len(byte_pairs().vocabulary)
    if config["vocab_size"] != known:
        mend = f"its text encoder knows {config['vocab_size']} tokens, CLIP {known}; give a diffusers folder"
        raise UserError("model.path", path, mend)
    wanted = tensor_names.encoder_names(config, prefix, encoder.projects)
    return _part("model.path", path, config, _chosen("model.path", path, named, wanted), (family, encoder.part))


def _part(key: str, path: Path, config: Mapping[str, Any], tensors: Tensors, shared: tuple[str, str]) -> Part:
    return Part(key, path, config, tensors, (path, inferred_config.config_file(*shared)))


def _below(tensors: Tensors, prefix: str) -> dict[str, Stored]:
    return {name.removeprefix(prefix): stored for name, stored in tensors.items() if name.startswith(prefix)}


def _deduced(key: str, path: Path, config: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return config()
    except KeyError as missing:
        raise UserError(key, path, f"the file lacks {missing.args[0]} and more; get the whole model") from None


def _chosen(key: str, path: Path, tensors: Tensors, wanted: Iterable[str]) -> dict[str, Stored]:
    """The tensors of a network; raises UserError if any is missing."""
    names = list(wanted)
    missing = [name for name in names if name not in tensors]
    if missing:
        mend = f"the file lacks {len(missing)} of {len(names)} tensors, first {missing[0]}; get the whole model"
        raise UserError(key, path, mend)
    integers = [name for name in names if not tensors[name].is_floating_point]
    if integers:
        mend = f"{integers[0]} is in {tensors[integers[0]].dtype}, which holds no fractions; get the model again"
        raise UserError(key, path, mend)
    return {name: tensors[name] for name in names}
