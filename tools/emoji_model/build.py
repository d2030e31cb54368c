"""Build the small SDXL-shaped emoji model and its demo sets from two npm packages, in restartable stages."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from .card import write_card
from .demo import held_out_images, write_demo_sets
from .denoiser import Denoiser, Latents, Material, train_denoiser
from .export import export
from .latents import encode_subjects, measure_scaling_factor
from .packages import metadata, picture_path, unpack_all
from .pictures import compose, open_picture
from .prove import choose_subjects, compare_captions
from .sheet import write_sheet
from .subjects import listed, named_subjects, select_subjects
from .tokenizer import END, learn_merges, new_tokenizer
from .training import ModuleT, Plan, Training
from .vae import new_vae, round_trip_error, stack, train_vae


@dataclass(frozen=True)
class Build:
    """Where a build reads and writes, its seed, and how long the two trainings last."""

    packages: Path | None
    work: Path
    out: Path
    seed: int
    vae: Plan
    unet: Plan

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.out / "models" / "emoji-xl"


def unpack(build: Build) -> None:
    """Fetch and unpack the packages."""
    unpack_all(build.packages, build.work)


def draw_demo_sets(build: Build) -> None:
    """Write the two demo sets."""
    write_demo_sets(build.work, metadata(build.work), build.out / "data", build.seed)


def learn_tokenizer(build: Build) -> None:
    """Learn the merges from the captions."""
    merges = learn_merges(subject.caption for subject in select_subjects(metadata(build.work)))
    _write_json(build.work / "merges.json", merges)


def learn_vae(build: Build) -> None:
    """Train the autoencoder on both styles, and measure it on the Noto pictures."""
    noto = _pixels(build, ("noto",))
    training = train_vae(_pixels(build, ("noto", "twemoji")), build.vae, build.seed, build.work / "vae.pt")
    facts = {"error": round_trip_error(training.averaged, noto), **_facts_of(training)}
    _note(build, "vae", facts | {"scaling_factor": measure_scaling_factor(training.averaged, noto)})


def encode_pictures(build: Build) -> None:
    """Encode the subjects once."""
    subjects = select_subjects(metadata(build.work))
    canvases = encode_subjects(_vae(build), subjects, build.work, _facts(build)["vae"]["scaling_factor"])
    content = [asdict(canvas) for canvas in canvases]
    partial = build.work / "latents.partial"
    torch.save(content, partial)
    os.replace(partial, build.work / "latents.pt")


def learn_unet(build: Build) -> None:
    """Train the denoiser with its text encoders."""
    canvases = [Latents(**content) for content in torch.load(build.work / "latents.pt", weights_only=True)]
    material = Material(canvases, select_subjects(metadata(build.work)), _tokenizers(build))
    training = train_denoiser(material, build.unet, build.seed, build.work / "unet.pt")
    _note(build, "unet", _facts_of(training) | {"subjects": len(material.subjects)})


def export_model(build: Build) -> None:
    """Write the averaged weights so far as a diffusers folder."""
    tokenizers = _tokenizers(build)
    denoiser = Denoiser(tokenizers)
    denoiser.load_state_dict(_averaged(build.work / "unet.pt"))
    export(_vae(build), denoiser, tokenizers, _merges(build), build.model)


def draw_sheet(build: Build) -> None:
    """Draw the contact sheet with the exported model."""
    subjects = named_subjects(metadata(build.work), listed("shown"))
    write_sheet(_pipeline(build), subjects, build.work, build.model / "contact-sheet.png", build.seed)


def prove_prompts(build: Build) -> None:
    """Measure on 200 prompts whether the right caption lowers the loss of the exported model."""
    subjects = choose_subjects(select_subjects(metadata(build.work)), 200, build.seed)
    verdict = compare_captions(_pipeline(build), subjects, build.work, build.seed)
    print(verdict)
    _note(build, "prompts", asdict(verdict))


def write_model_card(build: Build) -> None:
    """Write the model card from the measured figures."""
    write_card(build.model / "README.md", _facts(build), build.seed)


STAGES: dict[str, Callable[[Build], None]] = {
    "data": unpack,
    "demo": draw_demo_sets,
    "tokenizer": learn_tokenizer,
    "vae": learn_vae,
    "latents": encode_pictures,
    "unet": learn_unet,
    "export": export_model,
    "sheet": draw_sheet,
    "prove": prove_prompts,
    "card": write_model_card,
}


def main() -> None:
    """Run one stage, or all in their order."""
    arguments = _arguments()
    build = Build(
        packages=arguments.packages,
        work=arguments.work,
        out=arguments.out,
        seed=arguments.seed,
        vae=Plan(arguments.vae_steps, 2.5e-3, minutes=arguments.minutes, average=0.998),
        unet=Plan(arguments.unet_steps, 1e-3, minutes=arguments.minutes, parts=2),
    )
    build.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.stage or STAGES:
        print(f"stage {name}", flush=True)
        STAGES[name](build)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, help="folder with the two npm tarballs; without it npm fetches them")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and everything between")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets data/ and models/emoji-xl/")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage; may be given again")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--vae-steps", type=int, default=4500)
    parser.add_argument("--unet-steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end each training stage after this long")
    return parser.parse_args()


def _pixels(build: Build, styles: tuple[str, ...]) -> Tensor:
    """All pictures of these styles on white, without those that the demo sets hold out."""
    entries = metadata(build.work)
    held_out = held_out_images(entries)
    drawings = [(style, entry["image"]) for entry in entries for style in styles]
    paths = [picture_path(build.work, *drawing) for drawing in drawings if drawing not in held_out]
    return stack(compose(open_picture(path), (64, 64), 64) for path in paths if path.is_file())


def _vae(build: Build) -> AutoencoderKL:
    vae = new_vae()
    vae.load_state_dict(_averaged(build.work / "vae.pt"))
    vae.register_to_config(scaling_factor=_facts(build)["vae"]["scaling_factor"])
    return vae


def _averaged(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["averaged"]
    return state


def _merges(build: Build) -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads((build.work / "merges.json").read_text("utf-8"))]


def _tokenizers(build: Build) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    merges = _merges(build)
    return new_tokenizer(merges, pad_token=END), new_tokenizer(merges, pad_token="!")


def _pipeline(build: Build) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(build.model, torch_dtype=torch.float32, local_files_only=True)


def _facts_of(training: Training[ModuleT]) -> dict[str, float]:
    return {"steps": training.step, "minutes": training.seconds / 60}


def _facts(build: Build) -> dict[str, Any]:
    path = build.work / "facts.json"
    facts: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return facts


def _note(build: Build, name: str, facts: dict[str, Any]) -> None:
    print(name, facts, flush=True)
    _write_json(build.work / "facts.json", _facts(build) | {name: facts})


def _write_json(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    main()
