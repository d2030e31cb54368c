"""Preview images: a prompt, a seed and a sampler make the same picture every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from PIL import Image, PngImagePlugin
from torch import Generator, Tensor

from sweeplora.data.buckets import Size
from sweeplora.errors import UserError
from sweeplora.models.family import Family, Text
from sweeplora.processes import Processes
from sweeplora.prompts import Prompt, check_prompts
from sweeplora.rundir import write_whole
from sweeplora.samplers import Sampler

_Scheduler = tuple[str, str, dict[str, Any]]
_DDIM: _Scheduler = ("ddim", "DDIMScheduler", {"clip_sample": False})
_LMS: _Scheduler = ("lms_discrete", "LMSDiscreteScheduler", {})
_EULER: _Scheduler = ("euler_discrete", "EulerDiscreteScheduler", {})
_EULER_A: _Scheduler = ("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {})
_DPM_2: _Scheduler = ("k_dpm_2_discrete", "KDPM2DiscreteScheduler", {})
_DPM_2_A: _Scheduler = ("k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler", {})
_DPM_SOLVER = "dpmsolver_multistep", "DPMSolverMultistepScheduler"

_SCHEDULERS: dict[str, _Scheduler] = {
    "ddim": _DDIM,
    "pndm": ("pndm", "PNDMScheduler", {}),
    "lms": _LMS,
    "k_lms": _LMS,
    "euler": _EULER,
    "k_euler": _EULER,
    "euler_a": _EULER_A,
    "k_euler_a": _EULER_A,
    "heun": ("heun_discrete", "HeunDiscreteScheduler", {}),
    "dpm_2": _DPM_2,
    "k_dpm_2": _DPM_2,
    "dpm_2_a": _DPM_2_A,
    "k_dpm_2_a": _DPM_2_A,
    "dpmsolver": (*_DPM_SOLVER, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpmsolver++": (*_DPM_SOLVER, {"algorithm_type": "dpmsolver++"}),
    "dpmsingle": ("dpmsolver_singlestep", "DPMSolverSinglestepScheduler", {"lower_order_final": True}),
}
_BY_TIMESTEPS = frozenset({"ddim", "pndm"})
_ALMOST_NO_SIGNAL = 2**-24
"""In place of 0 in the cumulative products, where a noise level would be infinite; diffusers' own value."""


@dataclass(frozen=True)
class Sample:
    """When preview images are made, and what holds where a prompt does not say.

    every_epochs or every_steps (optimizer steps); 0 leaves those asked for by at_first (before the first step)
    and at_last.
    A sampler's `k_` name is the same as without it, as in sd-scripts; `karras` sets its noise levels as Karras et
    al. 2022 (arXiv:2206.00364, equation 5) do. `weighted`: `(word:1.2)` in a prompt is emphasis, as there; its
    embeddings are multiplied as in a training with weighted captions, and not scaled back to their old mean.
    """

    prompts: str
    every_epochs: Annotated[int, Ge(0)]
    every_steps: Annotated[int, Ge(0)]
    at_first: bool
    at_last: bool
    sampler: Sampler
    karras: bool
    steps: Annotated[int, Ge(1), Le(1000)]
    guidance: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)]
    weighted: bool

    def __post_init__(self) -> None:
        # Imported here, because the check before compute runs this method alone.
        from sweeplora.samplers import check_sampler

        check_sampler(self.sampler, self.steps, self.karras)
        if self.every_epochs and self.every_steps:
            mend = f"with sample.every_epochs={self.every_epochs}; give one, the other 0"
            raise UserError("sample.every_steps", self.every_steps, mend)

    @property
    def draws(self) -> bool:
        """Whether any image is asked for."""
        return bool(self.every_epochs or self.every_steps or self.at_first or self.at_last)

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether images are due when `epoch` epochs of `epochs` are done."""
        if epoch == 0:
            return self.at_first
        return (self.at_last and epoch == epochs) or is_due(epoch, self.every_epochs)


def is_due(count: int, every: int) -> bool:
    """Whether something that comes every so often, or never (0), comes at `count`."""
    return every > 0 and count % every == 0


def make_scheduler(sampler: str, karras: bool, prediction: str, alphas_cumprod: Tensor) -> Any:
    """diffusers' scheduler for a sampler's name, over a model's noise schedule [T].

    Sigmas, timesteps and their spacing are the reference's (`get_my_scheduler` with diffusers 0.32.1), whatever
    the model's own scheduler_config.json says of spacing and offset. Three things differ. The reference clips
    the predicted picture of `ddim` and `heun` to [-1, 1], which latents exceed: here nothing is clipped. Its
    `dpmsolver` stops with an error: here it ends at the smallest sigma, as diffusers asks. And it samples a model
    of zero terminal SNR with betas that were never rescaled: here every sampler takes the schedule that is
    trained, and those that step through timesteps begin at the last one (`trailing`, Lin et al. 2023,
    arXiv:2305.08891, section 3.3), where the others begin anyway; `samplers.check_from_pure_noise` refuses what
    fails there.
    """
    module, name, options = _SCHEDULERS[sampler]
    products = alphas_cumprod.double()
    terminal = float(products[-1]) == 0
    if terminal:
        products = products.clamp_min(_ALMOST_NO_SIGNAL)
    alphas = torch.cat([products[:1], products[1:] / products[:-1]])
    options = {**options, "trained_betas": (1 - alphas).tolist(), "num_train_timesteps": len(products)}
    if terminal and sampler in _BY_TIMESTEPS:
        options["timestep_spacing"] = "trailing"
    if karras:
        options["use_karras_sigmas"] = True
    scheduler_class = getattr(import_module(f"diffusers.schedulers.scheduling_{module}"), name)
    return scheduler_class(prediction_type=prediction, **options)


@torch.no_grad()
def draw(family: Family, prompt: Prompt, settings: Sample, size: Size) -> Tensor:
    """One image [3, H, W] in [0, 1]: what diffusers' pipeline gives for prompt, seed and scheduler on the CPU.

    `size` holds where the prompt gives none; sides are rounded down to what the model accepts. Guidance of 1 or
    less is none, at half the cost. The VAE is expected on the U-Net's device.
    """
    device = next(family.unet.parameters()).device
    sides = (prompt.width or size.width, prompt.height or size.height)
    width, height = (_floor(side, family.divisor) for side in sides)
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
    """The prompt's encoding, behind that of the negative prompt where there is guidance."""
    wanted = family.encode_text([prompt.prompt], weighted)
    if not guided:
        return wanted
    negative = family.encode_text([prompt.negative], weighted) if prompt.negative else family.unconditional(1)
    return Text(*(torch.cat(pair) for pair in zip(negative, wanted, strict=True)))


def _floor(side: int, step: int) -> int:
    return max(step, side - side % step)


@dataclass(frozen=True)
class Previews:
    """The preview images of a run: which, how, and their size where a prompt gives none.

    Raises UserError for a prompt that does not go with the settings.
    """

    prompts: Sequence[Prompt]
    settings: Sample
    size: Size

    def __post_init__(self) -> None:
        check_prompts(self.prompts, self.settings.sampler, self.settings.steps, self.settings.karras)

    def write(self, folder: Path, step: int, family: Family, processes: Processes) -> None:
        """Draw every prompt, shared out over the processes, and write `<step>_<index>.png` whole.

        Ends early when the training was asked to stop.
        """
        folder.mkdir(exist_ok=True)
        with _on_device(family, processes.device):
            for index in range(processes.rank, len(self.prompts), processes.world_size):
                if processes.stop.asked:
                    return
                with processes.autocast():
                    image = draw(family, self.prompts[index], self.settings, self.size)
                write_whole(folder / f"{step:08d}_{index:02d}.png", _png(image, self.prompts[index]))


@contextmanager
def _on_device(family: Family, device: torch.device) -> Iterator[None]:
    """Bring the parts that only pictures need to the U-Net's device, and back to where they were."""
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
