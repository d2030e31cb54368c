"""Preview images: a prompt, a seed and a sampler give the same image every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin
from torch import Generator, Tensor

from sweeplora.data.buckets import Size
from sweeplora.models.captions_once import captions_once
from sweeplora.models.family import Family, Text
from sweeplora.rundir.files import write_whole
from sweeplora.training.distributed import Processes
from sweeplora.training.previews.batches import Places, drawing_of, guidance_of, in_batches
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.prompts import check_prompts
from sweeplora.training.previews.schedulers import make_scheduler
from sweeplora.training.previews.settings import Sample

Kept = Callable[[Sequence[Prompt], Sample, Size, Callable[[], list[bytes]]], list[bytes]]
"""(prompts of a batch, settings, size, how to draw them) -> their PNG files."""


class _Stopped(Exception):
    """The training was asked to stop while a batch was drawn."""


@torch.no_grad()
def draw(
    family: Family,
    prompts: Sequence[Prompt],
    settings: Sample,
    size: Size,
    before_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Images [B, 3, H, W] in [0, 1]: each is the result of diffusers' pipeline for its prompt, seed and scheduler.

    All prompts must have the same `Drawing`; `size` is used if they give none. A guidance of 1 or less turns guidance
    off, at half the cost. The size of the batch changes last bits. The VAE must be on the U-Net's device. `before_step`
    is called before every denoising step and before the VAE, and may raise to leave the rest undrawn.
    """
    device, count = next(family.unet.parameters()).device, len(prompts)
    (drawing,) = {drawing_of(prompt, settings, size, family.divisor) for prompt in prompts}
    width, height = drawing.width, drawing.height
    text = _text(family, prompts, settings.weighted, guided=drawing.is_guided)
    rows = len(text.pooled)
    sizes = torch.tensor([[height, width, 0, 0, height, width]] * rows, dtype=torch.float32, device=device)
    guidance = torch.tensor([guidance_of(prompt, settings) for prompt in prompts], device=device).view(-1, 1, 1, 1)

    generators = [Generator().manual_seed(settings.seed if one.seed is None else one.seed) for one in prompts]
    scheduler = make_scheduler(drawing.sampler, settings.karras, family.prediction, family.alphas_cumprod)
    scheduler.set_timesteps(drawing.steps)
    extra = {"generator": generators} if "generator" in signature(scheduler.step).parameters else {}
    shape = (1, family.latent_channels, height // family.scale_factor, width // family.scale_factor)
    noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
    latents = noise.to(device) * scheduler.init_noise_sigma
    with captions_once(family.unet) as once:
        once.are(text.hidden, range(rows))
        for timestep in scheduler.timesteps:
            before_step()
            noisy = scheduler.scale_model_input(latents, timestep).repeat(rows // count, 1, 1, 1)
            output = family.predict(noisy, timestep.to(device).expand(rows), text, sizes)
            if drawing.is_guided:
                unconditional, conditional = output.chunk(2)
                output = unconditional + guidance * (conditional - unconditional)
            latents = scheduler.step(output, timestep, latents, **extra).prev_sample
    before_step()
    with torch.autocast(device.type, enabled=False):
        return family.decode(latents).float().cpu()


def _text(family: Family, prompts: Sequence[Prompt], weighted: bool, guided: bool) -> Text:
    """The prompts' encodings, preceded by those of the negative prompts if there is guidance."""
    wanted = family.encode_text([prompt.prompt for prompt in prompts], weighted)
    if not guided:
        return wanted
    negatives = {
        text: family.encode_text([text], weighted) if text else family.unconditional(1)
        for text in dict.fromkeys(prompt.negative for prompt in prompts)
    }
    parts = [*(negatives[prompt.negative] for prompt in prompts), wanted]
    return Text(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Previews:
    """The preview images of a run: prompts, settings, and the default size.

    Raises UserError for a prompt that is incompatible with the settings.
    """

    prompts: Sequence[Prompt]
    settings: Sample
    size: Size

    def __post_init__(self) -> None:
        check_prompts(self.prompts, self.settings.sampler, self.settings.steps, self.settings.karras)

    def write(self, folder: Path, step: int, family: Family, processes: Processes, kept: Kept | None = None) -> None:
        """Draw every prompt, in batches distributed over the processes; write each `<step>_<index>.png` atomically.

        `kept`: where images of the base model are found again. If the training was asked to stop, it ends before the
        next denoising step.
        """
        folder.mkdir(exist_ok=True)
        batches = in_batches(self.prompts, self.settings, self.size, Places(family.divisor, family.scale_factor))
        with family.whole_on(processes.device):
            for batch in batches[processes.rank :: processes.world_size]:
                prompts = [self.prompts[index] for index in batch]
                make = partial(self._drawn, prompts, family, processes)
                try:
                    files = make() if kept is None else kept(prompts, self.settings, self.size, make)
                except _Stopped:
                    return
                for index, content in zip(batch, files, strict=True):
                    write_whole(folder / f"{step:08d}_{index:02d}.png", content)

    def _drawn(self, prompts: Sequence[Prompt], family: Family, processes: Processes) -> list[bytes]:
        """The PNG files of a batch."""

        def leave_if_asked() -> None:
            if processes.stop.requested:
                raise _Stopped

        leave_if_asked()
        with processes.autocast():
            images = draw(family, prompts, self.settings, self.size, leave_if_asked)
        return [_png(image, prompt) for image, prompt in zip(images, prompts, strict=True)]


def _png(image: Tensor, prompt: Prompt) -> bytes:
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", prompt.prompt)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()
