"""Preview images: a prompt, a seed and a sampler give the same image every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin
from torch import Generator, Tensor

from sweeplora.data.buckets import Size
from sweeplora.models.family import Family, Text
from sweeplora.rundir.files import write_whole
from sweeplora.training.distributed import Processes
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.prompts import check_prompts, drawn_side
from sweeplora.training.previews.schedulers import make_scheduler
from sweeplora.training.previews.settings import Sample


@torch.no_grad()
def draw(family: Family, prompt: Prompt, settings: Sample, size: Size) -> Tensor:
    """One image [3, H, W] in [0, 1]: the result of diffusers' pipeline for prompt, seed and scheduler on the CPU.

    `size` is used if the prompt gives none; sides are rounded down to what the model accepts. A guidance of 1 or
    less turns guidance off, at half the cost. The VAE must be on the U-Net's device.
    """
    device = next(family.unet.parameters()).device
    sides = (prompt.width or size.width, prompt.height or size.height)
    width, height = (drawn_side(side, family.divisor) for side in sides)
    guidance = settings.guidance if prompt.guidance is None else prompt.guidance
    text = _text(family, prompt, settings.weighted, guided=guidance > 1)
    count = len(text.pooled)
    sizes = torch.tensor([[height, width, 0, 0, height, width]] * count, dtype=torch.float32, device=device)

    generator = Generator().manual_seed(settings.seed if prompt.seed is None else prompt.seed)
    sampler = prompt.sampler or settings.sampler
    scheduler = make_scheduler(sampler, settings.karras, family.prediction, family.alphas_cumprod)
    scheduler.set_timesteps(prompt.steps or settings.steps)
    extra = {"generator": generator} if "generator" in signature(scheduler.step).parameters else {}
    shape = (1, family.latent_channels, height // family.scale_factor, width // family.scale_factor)
    latents = torch.randn(shape, generator=generator).to(device) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        noisy = scheduler.scale_model_input(latents, timestep).expand(count, -1, -1, -1)
        output = family.predict(noisy, timestep.to(device).expand(count), text, sizes)
        if count == 2:
            unconditional, conditional = output.chunk(2)
            output = unconditional + guidance * (conditional - unconditional)
        latents = scheduler.step(output, timestep, latents, **extra).prev_sample
    with torch.autocast(device.type, enabled=False):
        return family.decode(latents)[0].float().cpu()


def _text(family: Family, prompt: Prompt, weighted: bool, guided: bool) -> Text:
    """The prompt's encoding, preceded by that of the negative prompt if there is guidance."""
    wanted = family.encode_text([prompt.prompt], weighted)
    if not guided:
        return wanted
    negative = family.encode_text([prompt.negative], weighted) if prompt.negative else family.unconditional(1)
    return Text(*(torch.cat(pair) for pair in zip(negative, wanted, strict=True)))


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

    def write(self, folder: Path, step: int, family: Family, processes: Processes) -> None:
        """Draw every prompt, distributed over the processes, and write each `<step>_<index>.png` atomically.

        Ends early if the training was asked to stop.
        """
        folder.mkdir(exist_ok=True)
        with _on_device(family, processes.device):
            for index in range(processes.rank, len(self.prompts), processes.world_size):
                if processes.stop.requested:
                    return
                with processes.autocast():
                    image = draw(family, self.prompts[index], self.settings, self.size)
                write_whole(folder / f"{step:08d}_{index:02d}.png", _png(image, self.prompts[index]))


@contextmanager
def _on_device(family: Family, device: torch.device) -> Iterator[None]:
    """Move the parts that only previews use to the U-Net's device, and back afterwards."""
    places = {part: next(part.parameters()).device for part in (family.vae, *family.text_encoders)}
    for part in places:
        part.to(device)
    try:
        yield
    finally:
        for part, place in places.items():
            part.to(place)


def _png(image: Tensor, prompt: Prompt) -> bytes:
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", prompt.prompt)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()
