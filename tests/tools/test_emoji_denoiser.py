"""The noise schedule and what the denoiser is shown, against the library and the formulas."""

from __future__ import annotations

import torch

from tools.emoji_model.denoiser import draw_caption, draw_dropout, draw_timesteps
from tools.emoji_model.schedule import SIGNAL_SHARE, add_noise, min_snr_weight, new_scheduler
from tools.emoji_model.subjects import Subject
from tools.emoji_model.training import generator


def test_the_signal_share_is_the_schedulers() -> None:
    assert torch.allclose(SIGNAL_SHARE, new_scheduler().alphas_cumprod, atol=1e-6)


def test_noise_keeps_the_variance_of_unit_latents() -> None:
    rng = generator(1, "test", 0)
    latents, noise = torch.randn(2, 64, 4, 16, 16, generator=rng).unbind()
    noisy = add_noise(latents, noise, torch.full((64,), 500))
    assert abs(noisy.var().item() - 1) < 0.02


def test_min_snr_leaves_noisy_timesteps_alone_and_tames_clean_ones() -> None:
    weights = min_snr_weight(torch.tensor([0, 999]))
    share = SIGNAL_SHARE[0].item()
    assert weights[1] == 1
    assert torch.isclose(weights[0], torch.tensor(5 * (1 - share) / share))


def test_timesteps_of_a_batch_come_one_from_each_part() -> None:
    timesteps = draw_timesteps(20, generator(1, "test", 0))
    assert sorted((timesteps // 50).tolist()) == list(range(20))


def test_a_tenth_of_the_captions_is_dropped_half_of_it_to_zeros() -> None:
    captions, keep = draw_dropout(["apple"] * 20_000, generator(1, "test", 0))
    assert abs(captions.count("") / 20_000 - 0.05) < 0.01
    assert abs((keep == 0).float().mean().item() - 0.05) < 0.01
    assert not any(text == "" and kept == 0 for text, kept in zip(captions, keep.tolist(), strict=True))


def test_captions_keep_their_tags_or_their_name_and_often_gain_a_made_up_tag() -> None:
    subject = Subject("apple", "apple.png", ("red apple", "food", "fruit"))
    draws = [draw_caption(subject, generator(1, "test", step)).split(", ") for step in range(2_000)]
    known = [[tag for tag in tags if tag in subject.tags] for tags in draws]
    assert {frozenset(tags) for tags in known} == {frozenset(subject.tags), frozenset({"red apple"})}
    assert abs(sum(len(tags) == 1 for tags in known) / 2_000 - 0.2) < 0.04
    assert abs(sum(tags[0] not in subject.tags for tags in draws) / 2_000 - 0.4) < 0.05
    assert all(tags[1:] == kept or tags == kept for tags, kept in zip(draws, known, strict=True))
