"""Images per second and memory compared with sd-scripts' training loop: same weights, images, network, precision.

    python benchmarks/against_sd_scripts.py --checkout SD_SCRIPTS --python SD_SCRIPTS_VENV/bin/python

`--python` is a separate environment with that checkout's requirements (torchvision may be missing), lycoris_lora and
the torch of ours. Both sides train the same narrow model with SDXL's architecture and random weights. The two trainings
start and warm up one after the other, since the threads of two busy processes would wait for each other. Then they stay
loaded and take turns of `--steps` optimizer steps, `--rounds` times; the result is the median of the rounds' ratios.
Both cache latents and text encoder outputs. A ratio is sd-scripts' time over ours: above 1 means that sweeplora is
faster. `cpu`: the same of the CPU time, which says more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
WARM_UP = 3
WIDTHS = (64, 128, 256)
"""Of the U-Net's levels: multiples of sd-scripts' 64 channels a head."""


@dataclass(frozen=True)
class Side:
    """One of the two trainings, and its log."""

    process: subprocess.Popen[str]
    log: Path


@dataclass(frozen=True)
class Case:
    """One network, as each side names it."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    accumulation: int = 1


def _network(dim: int, alpha: float, *arguments: str) -> tuple[str, ...]:
    options = (f"--network_dim={dim}", f"--network_alpha={alpha}")
    return (*options, "--network_args", "preset=full", *arguments)


CASES = {
    "locon": Case(("network=locon", "network.dim=8", "network.alpha=4"), _network(8, 4, "algo=locon")),
    "lokr": Case(("network=lokr", "network.dim=8", "network.alpha=4"), _network(8, 4, "algo=lokr")),
    "loha": Case(("network=loha", "network.dim=4", "network.alpha=4"), _network(4, 4, "algo=loha")),
    "dora": Case(
        ("network=dora", "network.dim=8", "network.alpha=4"),
        _network(8, 4, "algo=locon", "dora_wd=True", "wd_on_output=False"),
    ),
    "guide": Case(
        (
            *("network=locon", "network.dim=16", "network.alpha=8", "network.conv_dim=8", "network.conv_alpha=4"),
            *("noise=multires", "noise.multires_discount=0.3", "train.max_weight_norm=1.0"),
        ),
        (
            *_network(16, 8, "algo=locon", "conv_dim=8", "conv_alpha=4"),
            *("--multires_noise_iterations=6", "--multires_noise_discount=0.3", "--scale_weight_norms=1.0"),
        ),
        accumulation=6,
    ),
}


def main() -> None:
    arguments = parse()
    if arguments.ours:
        run_ours(json.loads(arguments.ours))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_model(place)
        make_pictures(place / "pictures" / "1_set", arguments.pictures, arguments.resolution)
        for precision in arguments.precision:
            for name in arguments.cases.split(","):
                found = compare(CASES[name], place / f"{name}-{precision}", precision, arguments)
                print(json.dumps({"case": name, "precision": precision, **found}), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", help="a checkout of sd-scripts")
    parser.add_argument("--python", help="the interpreter of its environment")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--steps", type=int, default=4, help="micro-batches a turn, over the accumulation")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", nargs="+", default=["no", "bf16"], choices=["no", "fp16", "bf16"])
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_model(place: Path) -> None:
    """Write the same random model as a diffusers folder and as a single file."""
    from diffusers import UNet2DConditionModel

    from sweeplora.models import tiny

    sys.path.insert(0, str(HERE.parent))
    from tests.models import originals_of

    folder = tiny.build(place / "model")
    config = json.loads((folder / "unet" / "config.json").read_text())
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    config |= {
        "block_out_channels": list(WIDTHS),
        "attention_head_dim": [width // 64 for width in WIDTHS],
        "transformer_layers_per_block": [1, 2, 4],
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": pooled + 6 * 256,
        "norm_num_groups": 32,
    }
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    originals_of.write(folder, place / "model.safetensors")


def make_pictures(folder: Path, count: int, side: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"picture {index}")


def compare(case: Case, place: Path, precision: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Let both sides take turns; return the medians and the ratio."""
    place.mkdir()
    segment = max(1, arguments.steps // case.accumulation)
    images = segment * case.accumulation * arguments.batch
    common = {"segment": segment, "warmup": WARM_UP, "threads": arguments.threads, "precision": precision}
    sides = []
    for start in (_start_ours, _start_theirs):
        sides.append(start(case, place, arguments, common))
        _report(sides[-1])
    rounds = [[_turn(side) for side in sides] for _ in range(arguments.rounds)]
    for side in sides:
        side.process.communicate()
    ours, theirs = (statistics.median(images / turn[n]["seconds"] for turn in rounds) for n in (0, 1))
    ratios, of_cpu = ([turn[1][what] / turn[0][what] for turn in rounds] for what in ("seconds", "cpu_seconds"))
    memory = [round(rounds[-1][n]["memory_mib"]) for n in (0, 1)]
    return {
        "images_a_second": {"ours": round(ours, 3), "theirs": round(theirs, 3)},
        "faster": round(statistics.median(ratios), 3),
        "cpu": round(statistics.median(of_cpu), 3),
        "rounds": [round(ratio, 3) for ratio in ratios],
        "memory_mib": {"ours": memory[0], "theirs": memory[1]},
    }


def _turn(side: Side) -> dict[str, float]:
    """Tell a side to continue, and return its report."""
    assert side.process.stdin is not None
    side.process.stdin.write("go on\n")
    side.process.stdin.flush()
    return _report(side)


def _report(side: Side) -> dict[str, float]:
    """Wait for the report that a side prints when it pauses, the first after its warm-up; other lines are notices."""
    assert side.process.stdout is not None
    for line in side.process.stdout:
        if line.startswith("{"):
            report: dict[str, float] = json.loads(line)
            return report
    sys.exit(f"{side.log.name} ends early:\n{side.log.read_text()[-3000:]}")


def _start_ours(case: Case, place: Path, arguments: argparse.Namespace, common: dict[str, Any]) -> Side:
    overrides = [
        "model=sdxl", f"model.path={place.parent / 'model'}", "data=folder", f"data.dir={place.parent / 'pictures'}",
        f"data.resolution={arguments.resolution}", f"train.batch_size={arguments.batch}", "train.epochs=1000",
        f"train.accumulation={case.accumulation}", f"train.mixed_precision='{common['precision']}'",
        "scheduler=constant", "train.probe_images=0", *case.ours,
    ]  # fmt: skip
    spec = json.dumps({**common, "overrides": overrides, "place": str(place)})
    return _start([sys.executable, __file__, "--ours", spec], place / "ours.log")


def _start_theirs(case: Case, place: Path, arguments: argparse.Namespace, common: dict[str, Any]) -> Side:
    side = arguments.resolution
    flags = [
        f"--pretrained_model_name_or_path={place.parent / 'model.safetensors'}",
        f"--train_data_dir={place.parent / 'pictures'}", "--caption_extension=.txt", f"--resolution={side},{side}",
        f"--train_batch_size={arguments.batch}", f"--gradient_accumulation_steps={case.accumulation}",
        f"--mixed_precision={common['precision']}", "--max_train_epochs=1000", "--learning_rate=2e-3", "--seed=0",
        f"--output_dir={place / 'output'}", "--output_name=theirs", "--network_module=lycoris.kohya", "--sdpa",
        "--cache_latents", "--cache_text_encoder_outputs", "--network_train_unet_only", "--optimizer_type=AdamW",
        "--max_data_loader_n_workers=1", "--persistent_data_loader_workers", "--max_grad_norm=1.0", *case.theirs,
    ]  # fmt: skip
    spec = {
        **common,
        "checkout": str(Path(arguments.checkout).resolve()),
        "model": str(place.parent / "model.safetensors"),
        "folder": str(place.parent / "model"),
        "flags": flags,
    }
    return _start([arguments.python, str(HERE / "sd_scripts_side.py"), json.dumps(spec)], place / "theirs.log")


def _start(command: list[str], log: Path) -> Side:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)
    return Side(process, log)


def run_ours(spec: dict[str, Any]) -> None:
    """Our training loop, with the same code as a run, paced by the comparison."""
    import torch
    from pacing import Pace
    from step import assemble

    from sweeplora.data.batches import plan, windows

    torch.set_num_threads(spec["threads"])
    pace = Pace(spec["warmup"], spec["segment"])
    trainer, inputs = assemble(spec["overrides"], Path(spec["place"]))
    settings, seed = trainer.step_settings.train, trainer.step_settings.seed
    for epoch in range(1, 1000):
        parts = windows(plan(inputs.dataset, settings.batch_size, seed, epoch), settings.accumulation)
        requests = trainer.requests(parts, epoch, inputs.length.steps)
        with closing(inputs.loader.stream(requests)) as stream:
            for window in parts:
                trainer.train_window(window, epoch, stream, 1.0)
                pace.step()


if __name__ == "__main__":
    main()
