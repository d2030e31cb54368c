"""Latents and text encoder outputs, made once for each content and kept below `runs/cache/`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from sweeplora.data.captions import plain
from sweeplora.data.images import ImageFault
from sweeplora.data.index import Dataset, Picture
from sweeplora.data.pixels import read
from sweeplora.data.store import Store, Tensors
from sweeplora.errors import UserError
from sweeplora.models.family import Family, Text

Progress = Callable[[str, int, int], None]
"""Told (what, done, missing) as entries are made, and while another process makes them; may raise to stop."""

_PIXEL_RULES = "1"  # part of every latent's key; raise it when pixels.read() gives other numbers
_READ_AHEAD = 16


class Latents:
    """The VAE's posterior of every picture of a data set, by content, bucket and mirroring."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def posterior(self, picture: Picture, flip: bool) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [C, h, w], on the CPU."""
        entry = self._store.read(_latent_key(picture, flip))
        return entry["mean"], entry["std"]


class Texts:
    """Text encoder outputs of a fixed set of captions."""

    def __init__(self, store: Store, device: torch.device | str) -> None:
        self._store = store
        self._device = device

    def encode(self, captions: Sequence[str]) -> Text:
        """The outputs for `captions`, stacked, on the device; KeyError for one that was not kept."""
        entries = [self._store.read(_text_key(caption)) for caption in captions]
        hidden = torch.stack([entry["hidden"] for entry in entries])
        return Text(hidden.to(self._device), torch.stack([entry["pooled"] for entry in entries]).to(self._device))


class Cache:
    """Outputs of frozen encoders, addressed by content and shared by all runs.

    Entries are made one at a time, not in batches: a batch changes the last bits of what it holds, and an
    entry must be a function of its key alone. Autocast must be off.
    """

    def __init__(self, root: Path, progress: Progress) -> None:
        self._root = root
        self._progress = progress

    def latents(self, dataset: Dataset, family: Family, vae_hash: str) -> Latents:
        """Posteriors of all training and validation pictures, mirrored ones too where the data set flips.

        `vae_hash` stands for the VAE's weights and configuration. The VAE is not needed any more afterwards.
        Raises UserError for an image file that has changed or gone since it was read into the data set.
        """
        wanted = [
            (picture, flip) for picture in dataset.train for flip in ((False, True) if dataset.flip else (False,))
        ]
        wanted += [(picture, False) for picture in dataset.validation]
        pictures = {_latent_key(*one): one for one in wanted}
        store = Store(self._root / "latents" / _digest(vae_hash, _precision(family.vae), _PIXEL_RULES))

        def make(keys: Sequence[str]) -> Iterator[tuple[str, Tensors]]:
            pixels = _read_ahead([pictures[key] for key in keys])
            for key, values in zip(keys, pixels, strict=True):
                with torch.no_grad():
                    mean, std = family.encode_images(values[None])
                _refuse_overflow(mean, pictures[key][0])
                yield key, {"mean": mean[0].cpu(), "std": std[0].cpu()}

        store.fill(list(pictures), make, lambda done, missing: self._progress("latents", done, missing))
        return Latents(store)

    def texts(self, captions: Sequence[str], family: Family, encoders_hash: str, device: torch.device | str) -> Texts:
        """Outputs of the frozen text encoders for every different caption, to be used on `device`.

        `encoders_hash` stands for both encoders' weights, configurations and tokenizers.
        """
        named = {_text_key(caption): caption for caption in captions}
        precision = _precision(family.text_encoders[0])
        store = Store(self._root / "texts" / _digest(encoders_hash, precision, str(family.token_limit)))

        def make(keys: Sequence[str]) -> Iterator[tuple[str, Tensors]]:
            for key in keys:
                with torch.no_grad():
                    text = family.encode_text([named[key]])
                yield key, {"hidden": text.hidden[0].cpu(), "pooled": text.pooled[0].cpu()}

        store.fill(list(named), make, lambda done, missing: self._progress("texts", done, missing))
        return Texts(store, device)


def captions_of(dataset: Dataset) -> list[str]:
    """Every different caption of the data set, without its random parts."""
    pictures = (*dataset.train, *dataset.validation)
    return list(dict.fromkeys(plain(picture.caption, dataset.rules) for picture in pictures))


def _read_ahead(wanted: Sequence[tuple[Picture, bool]]) -> Iterator[Tensor]:
    """Pixels [3, H, W] of each, decoded by threads a little ahead of the encoder."""
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(wanted), _READ_AHEAD):
            yield from threads.map(_pixels, wanted[start : start + _READ_AHEAD])


def _pixels(wanted: tuple[Picture, bool]) -> Tensor:
    picture, flip = wanted
    try:
        return torch.from_numpy(read(picture, flip))
    except ImageFault as fault:
        raise UserError("data.dir", picture.path, f"the image {fault}; start the run again") from None
    except OSError as error:
        raise UserError("data.dir", picture.path, f"the image cannot be read ({error.strerror})") from None


def _refuse_overflow(mean: Tensor, picture: Picture) -> None:
    if not mean.isfinite().all():
        mend = "the VAE's latents are not finite; take another VAE by model.vae, or look at this image"
        raise UserError("data.dir", picture.path, mend)


def _latent_key(picture: Picture, flip: bool) -> str:
    width, height = picture.bucket
    return f"{picture.sha256[:40]}-{width}x{height}{'-flip' if flip else ''}"


def _text_key(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()[:40]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _precision(module: nn.Module) -> str:
    return str(next(module.parameters()).dtype).removeprefix("torch.")
