"""Posteriors: levels to the VAE's range, whole batches, and an outcome that does not depend on the company."""

from __future__ import annotations

import numpy as np
import torch

from sweeplora.data.latents import draw, encode, normal
from tests.data.toy import Toy


class _Looking(Toy):
    """Keeps what it is given."""

    seen: torch.Tensor

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = pixels
        return super().encode_images(pixels)


def _levels(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, 16, 24), generator=generator, dtype=torch.uint8) for _ in range(count)]


def test_black_is_minus_one_and_white_is_one() -> None:
    toy = _Looking()
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 1, 1)
    list(encode(toy, [levels], together=1))
    expected = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    assert np.array_equal(toy.seen[0, 0].flatten().numpy(), expected)
    assert toy.seen.min() == -1
    assert toy.seen.max() == 1


def test_every_batch_is_full_and_every_picture_comes_once() -> None:
    levels, toy = _levels(5), Toy()
    together = list(encode(toy, levels, together=4))
    assert toy.batches == [4, 4]
    alone = list(encode(Toy(), levels, together=1))
    assert len(together) == 5
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)
        assert one.shape == (2, 3, 4, 6)
        assert one.dtype == torch.float32
        assert one.untyped_storage().nbytes() == one.nbytes  # it does not hold its whole batch


def test_draws_have_the_posteriors_mean_and_deviation() -> None:
    posterior = torch.stack([torch.full((1, 100, 100), 3.0), torch.full((1, 100, 100), 0.5)])
    drawn = draw(posterior[None], normal(1, (1, 1, 100, 100)))
    assert abs(float(drawn.mean()) - 3) < 0.025
    assert abs(float(drawn.std()) - 0.5) < 0.02


def test_noise_follows_from_its_seed() -> None:
    assert torch.equal(normal(4, (2, 3)), normal(4, torch.Size((2, 3))))
    assert not torch.equal(normal(4, (2, 3)), normal(5, (2, 3)))
