"""Outputs of frozen encoders for images and captions, made once for each content and kept below `runs/cache/`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch

from sweeplora.config.running import code_digest
from sweeplora.data.captions import plain
from sweeplora.data.dataset import Dataset, Picture
from sweeplora.data.entries import KEPT_BYTES, EntryStore, Tensors
from sweeplora.data.latents import (
    CachedLatents,
    Latents,
    OnlineLatents,
    encode,
    latent_key,
    mask_key,
    mask_of,
    pixels_of,
)
from sweeplora.data.prefetch import prefetch
from sweeplora.errors import UserError
from sweeplora.models.family import Family, Text

Progress = Callable[[str, int, int], None]
"""Called with (what, done, missing) as entries are made here or by another process; may raise to stop."""

_CODE = ("sweeplora.data.latents", "sweeplora.models.loaded")
"""What encodes: entries that other code of it made, or other versions of the libraries, are not taken."""

_CAPTIONS_TOGETHER = 8
_READ_AHEAD = 16


class Texts:
    """Cached text encoder outputs of a fixed set of captions."""

    def __init__(self, store: EntryStore, device: torch.device | str) -> None:
        self._store = store
        self._device = device

    def encode(self, captions: Sequence[str]) -> Text:
        """The outputs for `captions`, stacked, on the device. Raises KeyError for a caption that is not cached."""
        entries = [self._store.read(_text_key(caption)) for caption in captions]
        hidden = torch.stack([entry["hidden"] for entry in entries])
        return Text(hidden.to(self._device), torch.stack([entry["pooled"] for entry in entries]).to(self._device))


class Cache:
    """Outputs of frozen encoders, addressed by content and shared by all runs.

    An entry depends on its key alone, and the code that makes it is part of the key. The size of a batch changes the
    last bits of its outputs, so all batches are filled up to one size, which is part of the key too (`latents.encode`
    says how exact that is). The number of threads and the device change last bits as well and are not part of the key:
    the first run decides for all. Each kind of entry keeps up to `kept_bytes` in memory. Autocast must be off.
    """

    def __init__(self, root: Path, progress: Progress, kept_bytes: int = KEPT_BYTES) -> None:
        self._root = root
        self._progress = progress
        self._kept_bytes = kept_bytes

    def latents(self, dataset: Dataset, family: Family, vae_hash: str) -> Latents:
        """Posteriors and masks of all training and validation images, mirrored too where a subset flips its images.

        `vae_hash` stands for the VAE's weights and configuration, including the scale of its latents. The VAE is not
        needed afterwards. Raises UserError for an image file that has changed or gone since the data set was read.
        """
        wanted = [
            (picture, flip)
            for picture in dataset.train
            for flip in ((False, True) if picture.treatment.flip else (False,))
        ]
        wanted += [(picture, False) for picture in dataset.validation]
        pictures = {latent_key(*one): one for one in wanted}
        together = dataset.vae_batch_size
        digest = _digest(vae_hash, _name(family.precision("vae")), _code(family), str(together))
        store = self._store("latents", digest)

        def make(keys: Sequence[str]) -> Iterator[tuple[str, Tensors]]:
            ordered = sorted(keys, key=lambda key: pictures[key][0].bucket)
            with closing(prefetch(lambda key: pixels_of(*pictures[key]), ordered, _threads(), _READ_AHEAD)) as pixels:
                for group in _same_bucket(ordered, pictures, together):
                    values = encode(family, [next(pixels) for _ in group], together)
                    for key, posterior in zip(group, values, strict=True):
                        _refuse_overflow(posterior, pictures[key][0])
                        yield key, {"posterior": posterior}

        store.fill(list(pictures), make, self._reporter("latents"))
        return CachedLatents(store, self._masks(dataset, family))

    def online(self, dataset: Dataset, family: Family, _vae_hash: str) -> Latents:
        """Latents that are encoded at every request: nothing is cached, and the VAE is needed throughout.

        Takes the same arguments as `latents`, so that a caller can choose between the two.
        """
        return OnlineLatents(family, dataset.vae_batch_size)

    def texts(self, dataset: Dataset, family: Family, encoders_hash: str, device: torch.device | str) -> Texts:
        """Outputs of the frozen text encoders for every distinct caption, for use on `device`.

        `encoders_hash` stands for the encoders' weights, configurations and tokenizers, and for the layer that is read.
        """
        weighted = dataset.weighted_captions
        named = {_text_key(caption): caption for caption in captions_of(dataset)}
        precision = _name(family.precision("text_encoder"))
        parts = (precision, str(family.token_limit), str(weighted), str(_CAPTIONS_TOGETHER))
        store = self._store("texts", _digest(encoders_hash, _code(family), *parts))

        def make(keys: Sequence[str]) -> Iterator[tuple[str, Tensors]]:
            for start in range(0, len(keys), _CAPTIONS_TOGETHER):
                group = list(keys[start : start + _CAPTIONS_TOGETHER])
                full = group + group[-1:] * (_CAPTIONS_TOGETHER - len(group))
                with torch.no_grad():
                    text = family.encode_text([named[key] for key in full], weighted=weighted)
                for key, hidden, pooled in zip(group, text.hidden.cpu(), text.pooled.cpu(), strict=False):
                    yield key, {"hidden": hidden.clone(), "pooled": pooled.clone()}

        store.fill(list(named), make, self._reporter("texts"))
        return Texts(store, device)

    def _masks(self, dataset: Dataset, family: Family) -> EntryStore:
        factor = family.scale_factor
        pictures = {mask_key(one): one for one in (*dataset.train, *dataset.validation) if one.mask is not None}
        store = self._store("masks", _digest(code_digest("sweeplora.data.latents"), str(factor)))

        def make(keys: Sequence[str]) -> Iterable[tuple[str, Tensors]]:
            with closing(prefetch(lambda key: mask_of(pictures[key], factor), keys, _threads(), _READ_AHEAD)) as masks:
                for key, mask in zip(keys, masks, strict=True):
                    yield key, {"mask": mask}

        store.fill(list(pictures), make, self._reporter("masks"))
        return store

    def _store(self, kind: str, digest: str) -> EntryStore:
        return EntryStore(self._root / kind / digest, self._kept_bytes)

    def _reporter(self, what: str) -> Callable[[int, int], None]:
        return lambda done, missing: self._progress(what, done, missing)


def captions_of(dataset: Dataset) -> list[str]:
    """Every distinct caption of the data set, without its random parts."""
    pictures = (*dataset.train, *dataset.validation)
    return list(dict.fromkeys(plain(picture.caption, picture.treatment.rules) for picture in pictures))


def _same_bucket(keys: Sequence[str], pictures: dict[str, tuple[Picture, bool]], together: int) -> Iterator[list[str]]:
    """Groups of at most `together` consecutive keys whose images share a bucket."""
    group: list[str] = []
    for key in keys:
        if group and (len(group) == together or pictures[group[0]][0].bucket != pictures[key][0].bucket):
            yield group
            group = []
        group.append(key)
    yield group


def _refuse_overflow(posterior: torch.Tensor, picture: Picture) -> None:
    if not posterior.isfinite().all():
        mend = "the VAE's latents are not finite; choose another VAE by model.vae, or look at this image"
        raise UserError("data.dir", picture.path, mend)


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _code(family: Family) -> str:
    return code_digest(*_CODE, type(family).__module__)


def _text_key(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()[:40]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
