"""Losses and weights of short trainings with a fixed seed and one thread, which a refactor must not change.

    python tools/fingerprints.py write before.json
    python tools/fingerprints.py compare before.json

One case per network algorithm of conf/network/, and one each for SD 1.5, accumulation, two processes, text encoders,
masks, fp8 and a mix of the other options. A case is four to six optimizer steps on the embedded emoji. `compare` exits
with 1 and names the cases whose losses differ in any digit or whose weights differ in any bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from sweeplora.models import tiny
from sweeplora.tensors.safetensors_header import split

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "src" / "sweeplora" / "assets" / "data" / "twemoji-style" / "train"
COMMON = (
    "tracking=none",
    "launcher.device=cpu",
    "launcher.threads=1",
    "train.epochs=null",
    "train.steps=4",
    "train.validation_images=4",
    "sample=none",
    "name=fingerprint",
)


def cases(work: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and overrides of every case; creates the models and masks they need below `work`."""
    for file in sorted((ROOT / "conf" / "network").glob("*.yaml")):
        yield f"network={file.stem}", [f"network={file.stem}"]
    sd15 = tiny.build(work / "sd15", "sd15")
    yield "sd15", ["model=sd15", f"model.path={sd15}", "network.text_encoders=true", "data.resolution=64"]
    yield "accumulation", ["train.accumulation=3", "train.batch_size=2", "train.steps=6"]
    yield "two processes", ["launcher.processes_per_trial=2"]
    yield "text encoders", ["network.text_encoders=true", "rates.text_encoder=1e-4", "data.shuffle_caption=true"]
    yield "masks", [f"data.mask_dir={_masks(work / 'masks')}"]
    yield "fp8", ["model.base_precision=fp8", "train.mixed_precision=bf16", "train.gradient_checkpointing=true"]
    yield (
        "mixed",
        [
            "noise=offset",
            "loss=huber",
            "optimizer=prodigy",
            "scheduler=constant",
            "train.max_weight_norm=1",
            "network.rank_dropout=0.2",
            "network.module_dropout=0.1",
            "data.flip=true",
            "data.caption_dropout=0.2",
        ],
    )


def _masks(folder: Path) -> Path:
    folder.mkdir()
    for image in sorted(IMAGES.glob("*.png")):
        size = Image.open(image).size
        Image.linear_gradient("L").resize(size).save(folder / image.name)
    return folder


def fingerprint(overrides: list[str], runs: Path) -> dict[str, Any]:
    """Train once; return the losses by step, the validation losses by step, and the sha256 of the last weights."""
    command = [sys.executable, "-m", "sweeplora", f"runs={runs}", *COMMON, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(overrides)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    (run,) = (file.parent for file in runs.glob("single/*/result.json"))
    series: dict[str, dict[str, float]] = {"loss": {}, "val/loss": {}}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        for key in series.keys() & entry["values"].keys():
            series[key][str(entry["step"])] = entry["values"][key]
    weights = run / "weights" / json.loads((run / "result.json").read_text())["weights"].rpartition("/")[2]
    return {**series, "weights": tensors_hash(weights.read_bytes())}


def tensors_hash(data: bytes) -> str:
    """Hex sha256 of a file's tensors; its metadata names the run's signature, which changes with any source."""
    header, start = split(data)
    del header["__metadata__"]
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data[start:]).hexdigest()


def main() -> int:
    """Write the fingerprints to a file, or compare them with those in a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, overrides) in enumerate(cases(Path(temporary))):
            found[name] = fingerprint(overrides, Path(temporary, f"runs-{number}"))
            print(f"{name}: {found[name]['weights'][:12]} {list(found[name]['loss'].values())[-1]}", flush=True)
    if chosen.verb == "write":
        chosen.file.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    before = json.loads(chosen.file.read_text())
    different = sorted(name for name in {*before, *found} if before.get(name) != found.get(name))
    for name in different:
        print(f"different: {name}")
    print(f"{len(found) - len(different)} of {len(found)} cases are identical to the last bit")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
