"""Sources of a training's latents: cached posteriors, or images that are encoded at every request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from sweeplora.data.dataset import Picture
from sweeplora.data.decode import ImageFault
from sweeplora.data.entries import EntryStore
from sweeplora.data.pixels import View, centre_view, read, read_mask, shrink_mask
from sweeplora.errors import UserError
from sweeplora.models.family import Family

FoundT = TypeVar("FoundT")


class Fetched(NamedTuple):
    """An image before any encoder runs: its content, its mask [1, h, w] and the shape of its latents.

    `content` is for `Latents.posteriors` alone: the posterior itself, or the image's levels.
    """

    content: Tensor
    mask: Tensor | None
    shape: torch.Size


class Latents(Protocol):
    """A source of latents."""

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """What is known of an image without an encoder; may run in any thread.

        Raises UserError for an image file that has changed or gone since the data set was read.
        """
        ...

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """Posteriors [b, 2, C, h, w] of fetched images of one bucket, float32, on the CPU."""
        ...


class CachedLatents:
    """Posteriors and masks from the cache."""

    def __init__(self, posteriors: EntryStore, masks: EntryStore) -> None:
        self._posteriors = posteriors
        self._masks = masks

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """The cached posterior and mask of the image's centre crop."""
        assert view == centre_view(picture, view.flip), "only centre crops in their own colours are cached"
        posterior = self._posteriors.read(latent_key(picture, view.flip))["posterior"]
        mask = None
        if picture.mask is not None:
            mask = self._masks.read(mask_key(picture))["mask"]
            mask = mask.flip(-1) if view.flip else mask
        return Fetched(posterior, mask, posterior.shape[1:])

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """The posteriors themselves."""
        return torch.stack(list(contents))


class OnlineLatents:
    """Images that the VAE encodes at every request, `together` of them in a batch."""

    def __init__(self, family: Family, together: int) -> None:
        self._family = family
        self._together = together

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """The image's levels and mask in this view."""
        cut = _found(picture, lambda: read(picture, view))
        factor = self._family.scale_factor
        mask = None if cut.mask is None else torch.from_numpy(shrink_mask(cut.mask, factor))
        sides = (picture.bucket.height // factor, picture.bucket.width // factor)
        return Fetched(torch.from_numpy(cut.pixels), mask, torch.Size((self._family.latent_channels, *sides)))

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """The images encoded on the VAE's device. Raises UserError where the result is not finite."""
        posteriors = torch.stack(list(encode(self._family, contents, self._together)))
        if not posteriors.isfinite().all():
            precision = str(next(self._family.vae.parameters()).dtype).removeprefix("torch.")
            raise UserError("model.vae_precision", precision, "the VAE's latents are not finite; choose fp32 or bf16")
        return posteriors


def encode(family: Family, pixels: Sequence[Tensor], together: int) -> Iterator[Tensor]:
    """Posterior [2, C, h, w] (mean and standard deviation, float32, on the CPU) of each image, in order.

    `pixels`: levels [3, H, W], uint8, of images of one size. Every batch holds `together` images, with the last one
    repeated where there are fewer, because the size of a batch changes the last bits of its outputs. Measured with
    torch 2.13 on a CPU, the other images of a batch change nothing; an image's position in the batch changes nothing in
    bfloat16, nor in float32 where `together` and the number of threads are powers of two, and up to 2e-6 otherwise.
    Autocast must be off.
    """
    device = next(family.vae.parameters()).device
    for start in range(0, len(pixels), together):
        part = list(pixels[start : start + together])
        full = torch.stack(part + part[-1:] * (together - len(part)))
        with torch.no_grad():
            mean, std = family.encode_images(full.to(device).float() / 127.5 - 1)
        for posterior in torch.stack((mean, std), dim=1).float().cpu()[: len(part)]:
            yield posterior.clone()  # a view would keep the whole batch in memory


def draw(posteriors: Tensor, noise: Tensor) -> Tensor:
    """Latents [b, C, h, w] from posteriors [b, 2, C, h, w] and standard normal noise [b, C, h, w]."""
    return posteriors[:, 0] + posteriors[:, 1] * noise


def normal(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise for `seed`, on the CPU."""
    return torch.randn(tuple(shape), generator=Generator().manual_seed(seed))


def pixels_of(picture: Picture, flip: bool) -> Tensor:
    """Levels [3, H, W] of the image's centre crop. Raises UserError for a file that has changed or gone."""
    return torch.from_numpy(_found(picture, lambda: read(picture, centre_view(picture, flip)).pixels))


def mask_of(picture: Picture, factor: int) -> Tensor:
    """The mask [1, h, w] of the image's centre crop at `factor` pixels a latent; raises as `pixels_of` does."""
    return torch.from_numpy(shrink_mask(_found(picture, lambda: read_mask(picture, centre_view(picture))), factor))


def latent_key(picture: Picture, flip: bool) -> str:
    """The name of a posterior's entry: content, sizes before and after the crop, mirrored, without transparency."""
    through = picture.mask is not None and picture.mask.path is None
    ends = f"{'-flip' if flip else ''}{'-through' if through else ''}"
    return f"{picture.sha256[:40]}-{_sizes(picture)}{ends}"


def mask_key(picture: Picture) -> str:
    """The name of a mask's entry: the content it comes from, and sizes before and after the crop."""
    assert picture.mask is not None, f"{picture.name} has no mask"
    sha256, end = (picture.sha256, "-alpha") if picture.mask.sha256 is None else (picture.mask.sha256, "")
    return f"{sha256[:40]}-{_sizes(picture)}{end}"


def _sizes(picture: Picture) -> str:
    scaled, bucket = picture.scaled, picture.bucket
    return f"{scaled.width}x{scaled.height}-{bucket.width}x{bucket.height}"


def _found(picture: Picture, look: Callable[[], FoundT]) -> FoundT:
    try:
        return look()
    except ImageFault as fault:
        raise UserError("data.dir", picture.path, f"the image {fault}; start the run again") from None
    except OSError as error:
        mend = f"{error.filename or 'the image'} cannot be read ({error.strerror}); start the run again"
        raise UserError("data.dir", picture.path, mend) from None
