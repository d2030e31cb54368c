"""Preview images: what the pipelines draw, prompts over settings, and the same picture every time."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from sweeplora.config.rules import check_rules
from sweeplora.data.buckets import Size
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.training.distributed import Processes
from sweeplora.training.previews.draw import Previews
from sweeplora.training.previews.draw import draw as draw_together
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.samplers import Sampler
from sweeplora.training.previews.schedulers import make_scheduler
from sweeplora.training.previews.settings import Sample
from sweeplora.training.stop import Stop
from tests.models import families

SQUARE = Size(64, 64)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Family:
    return families.load(tiny_model)


@pytest.fixture(scope="module")
def sd15(tiny_sd15: Path) -> Family:
    return families.sd15(tiny_sd15).load(families.CPU)


def settings(sampler: str, **changes: Any) -> Sample:
    given: dict[str, Any] = {
        "prompts": "none",
        "every_epochs": 0,
        "every_steps": 0,
        "at_first": True,
        "at_last": True,
        "sampler": sampler,
        "karras": False,
        "steps": 4,
        "guidance": 3.0,
        "seed": 1,
        "weighted": True,
    }
    return Sample(**(given | changes))


def draw(family: Family, prompt: Prompt, how: Sample, size: Size) -> Tensor:
    """One image [3, H, W], drawn alone."""
    return draw_together(family, [prompt], how, size)[0]


def drawn_by(pipe: Any, family: Family, **options: Any) -> Tensor:
    """The picture [3, H, W] of a diffusers pipeline with the sampler `euler` and our settings."""
    pipe.scheduler = make_scheduler("euler", False, family.prediction, family.alphas_cumprod)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    asked = {"num_inference_steps": 4, "guidance_scale": 3.0, "generator": generator, "output_type": "pt"}
    image: Tensor = pipe(width=96, height=64, **asked, **options).images[0]
    return image


def test_sdxl_draws_what_the_pipeline_draws(model: Family, tiny_model: Path) -> None:
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    ours = draw(model, Prompt("a shape", "dull"), settings("euler"), Size(96, 64))
    theirs = drawn_by(pipe, model, prompt="a shape", negative_prompt="dull")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_sd15_draws_what_the_pipeline_draws(sd15: Family, tiny_sd15: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd15, safety_checker=None, requires_safety_checker=False)
    ours = draw(sd15, Prompt("a shape"), settings("euler"), Size(96, 64))
    theirs = drawn_by(pipe, sd15, prompt="a shape")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


FEW = ("ddim", "euler_a", "heun", "dpmsolver++")


@pytest.mark.parametrize(
    "sampler", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in get_args(Sampler)]
)
def test_every_sampler_draws_the_same_picture_twice(sampler: str, model: Family) -> None:
    one, two = (draw(model, Prompt("a shape"), settings(sampler), SQUARE) for _ in range(2))
    assert one.shape == (3, 64, 64) and bool(one.isfinite().all())
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    "sampler", ["euler_a", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dpm_2_a", "ddim"))]
)
def test_images_drawn_together_are_those_drawn_alone(sampler: str, model: Family) -> None:
    prompts = [Prompt("a shape"), Prompt("a shape", "dull", seed=5), Prompt("two", guidance=7.5), Prompt("a shape")]
    together = draw_together(model, prompts, settings(sampler), SQUARE)
    alone = torch.stack([draw(model, prompt, settings(sampler), SQUARE) for prompt in prompts])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert torch.equal(together[0], together[3])
    assert all((one - together[0]).abs().max() > 0.01 for one in together[1:3])


def test_a_prompt_says_what_the_settings_leave_open(model: Family) -> None:
    wide = draw(model, Prompt("a shape", width=100, height=48), settings("euler"), SQUARE)
    assert wide.shape == (3, 48, 96)
    usual = draw(model, Prompt("a shape"), settings("euler"), SQUARE)
    for other in (Prompt("a shape", seed=2), Prompt("a shape", guidance=9.0), Prompt("a shape", sampler="ddim")):
        assert not torch.equal(draw(model, other, settings("euler"), SQUARE), usual)


def test_the_size_of_the_training_holds_where_a_prompt_has_none(model: Family) -> None:
    assert draw(model, Prompt("a shape"), settings("euler"), Size(96, 32)).shape == (3, 32, 96)
    assert draw(model, Prompt("a shape", height=64), settings("euler"), Size(96, 32)).shape == (3, 64, 96)


def test_without_guidance_the_negative_prompt_does_not_matter(model: Family) -> None:
    one, two = (draw(model, Prompt("a shape", n, guidance=1.0), settings("ddim"), SQUARE) for n in ("", "dull"))
    assert torch.equal(one, two)


def test_brackets_weigh_words_or_are_text(model: Family) -> None:
    plain = draw(model, Prompt("a shape"), settings("euler"), SQUARE)
    pictures = [draw(model, Prompt("a (shape:1.4)"), settings("euler", weighted=w), SQUARE) for w in (True, False)]
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], plain)
    assert torch.equal(draw(model, Prompt("a (shape:1)"), settings("euler"), SQUARE), plain)


def test_a_prompt_longer_than_75_tokens_is_read_as_in_training(tiny_model: Path) -> None:
    short, long = (families.load(tiny_model, max_tokens=count) for count in (75, 150))
    start = "x " * 80
    pictures = {
        (family.token_limit, end): draw(family, Prompt(start + end), settings("euler"), SQUARE)
        for family in (short, long)
        for end in ("red", "blue")
    }
    assert torch.equal(pictures[77, "red"], pictures[77, "blue"])
    assert not torch.equal(pictures[152, "red"], pictures[152, "blue"])


def test_karras_sigmas_change_the_picture(model: Family) -> None:
    one, two = (draw(model, Prompt("a shape"), settings("euler", karras=k), SQUARE) for k in (False, True))
    assert not torch.equal(one, two)


def test_settings_refuse_karras_sigmas_without_effect_before_anything_heavy_is_imported() -> None:
    node = vars(settings("euler")) | {"_target_": "sweeplora.training.previews.settings.Sample"}
    check_rules("sample", node | {"karras": True})
    with pytest.raises(UserError, match=r"sample\.karras=True: sampler euler_a has no Karras sigmas"):
        check_rules("sample", node | {"sampler": "euler_a", "karras": True})


def test_a_prompt_that_does_not_go_with_the_settings_is_named() -> None:
    with pytest.raises(UserError, match='the prompt "a cat" asks for it: sampler ddim has no Karras sigmas'):
        Previews([Prompt("a dog"), Prompt("a cat", sampler="ddim")], settings("euler", karras=True), SQUARE)


def test_previews_are_due_at_the_ends_and_in_between() -> None:
    every = settings("euler", every_epochs=2, at_first=False)
    assert [epoch for epoch in range(6) if every.due(epoch, 5)] == [2, 4, 5]
    assert not settings("euler", at_first=False, at_last=False).draws


def test_a_request_to_stop_ends_a_preview_before_the_next_step(model: Family, tmp_path: Path) -> None:
    passes: list[int] = []

    def stop_at_the_second(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 2:
            signal.raise_signal(signal.SIGTERM)

    previews = Previews([Prompt("a shape"), Prompt("a tall one", height=96)], settings("euler"), SQUARE)
    with closing(Stop(None)) as stop:
        hook = model.unet.register_forward_hook(stop_at_the_second)
        try:
            previews.write(tmp_path, 3, model, Processes("no", "cpu", stop))
        finally:
            hook.remove()
    assert len(passes) == 2
    assert not list(tmp_path.iterdir())
