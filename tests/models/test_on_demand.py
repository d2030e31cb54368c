"""Networks are read when they are first used, in the precision they are used in, and leave memory again."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from sweeplora.models.loaded import Loaded
from tests.models import families

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def half(path: Path) -> Loaded:
    family = families.sdxl(path).load(CPU, torch.bfloat16)
    assert isinstance(family, Loaded)
    return family


def test_nothing_is_read_before_it_is_used(tiny_model: Path) -> None:
    family = half(tiny_model)
    assert family.held() == {}
    assert family.vae.dtype == torch.float32
    assert set(family.held()) == {"vae"}
    assert family.unet.dtype == torch.bfloat16 == family.precision("unet")
    assert set(family.held()) == {"unet", "vae"}


def test_a_network_is_read_in_the_precision_it_is_placed_in(tiny_model: Path) -> None:
    """Converting what the file holds rounds once, as widening all of it and converting that does."""
    wide = families.load(tiny_model)
    family = half(tiny_model)
    family.place("vae", CPU, torch.float16)
    family.place("text_encoders", CPU, torch.bfloat16)
    pairs = [
        (family.unet, wide.unet),
        (family.vae, wide.vae),
        *zip(family.text_encoders, wide.text_encoders, strict=True),
    ]
    for narrow, whole in pairs:
        for name, tensor in whole.state_dict().items():
            found = narrow.state_dict()[name]
            assert torch.equal(found, tensor.to(found.dtype))
    assert family.vae.dtype == torch.float16 and family.text_encoders[0].dtype == torch.bfloat16


def test_released_text_encoders_leave_memory_and_encode_the_same_again(tiny_model: Path) -> None:
    family = half(tiny_model)
    before = family.encode_text(["a red circle", ""])
    encoders = [weakref.ref(encoder) for encoder in family.text_encoders]
    family.release("text_encoders")
    assert all(encoder() is None for encoder in encoders) and "text_encoder" not in family.held()
    with family.whole_on(CPU):
        again = family.encode_text(["a red circle", ""])
        assert "text_encoder" in family.held()
    assert "text_encoder" not in family.held()
    assert torch.equal(again.hidden, before.hidden) and torch.equal(again.pooled, before.pooled)
    with family.whole_on(CPU), family.in_float32():
        kept = family.encode_text(["a red circle", ""])
    assert torch.equal(kept.hidden, before.hidden)
    assert "text_encoder" not in family.held(), "a known prompt needs no encoder"


def test_what_previews_read_leaves_memory_again(tiny_model: Path) -> None:
    family = half(tiny_model)
    assert family.unet.dtype == torch.bfloat16
    with family.whole_on(CPU):
        family.decode(torch.zeros(1, 4, 8, 8))
        assert "vae" in family.held()
    assert set(family.held()) == {"unet"}


def test_what_stays_is_where_it_was_after_a_preview(tiny_model: Path) -> None:
    family = half(tiny_model)
    encoder, vae = family.text_encoders[0], family.vae
    with family.whole_on(CPU):
        pass
    assert family.text_encoders[0] is encoder and family.vae is vae


_LOADS = """
import sys
from pathlib import Path
import torch
from tests.models import families
from sweeplora.models import loaded

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])

torch.ones(2).bfloat16()
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
cpu = torch.device("cpu")
family = families.sdxl(sys.argv[1]).load(cpu, torch.bfloat16)
with torch.no_grad():
    family.encode_text(["a cat"])
    family.encode_images(torch.zeros(1, 3, 64, 64))
family.place("text_encoders", cpu, torch.bfloat16)
family.release("text_encoders")
family.unet
print((status("VmHWM") - before) * 1024 / Path(sys.argv[1]).stat().st_size)
"""


@pytest.mark.slow
def test_a_half_precision_training_needs_little_more_than_the_files_size(tmp_path: Path) -> None:
    """Of SDXL's parts in SDXL's proportions; as float32, all would be twice the file and more."""
    file = tmp_path / "model.safetensors"
    sizes = ["--widths", "192", "384", "768", "--layers", "1", "2", "6", "--encoder-layers", "6", "8"]
    subprocess.run([sys.executable, "tools/big_sdxl.py", file, *sizes], cwd=ROOT, check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", _LOADS, file], cwd=ROOT, check=True, capture_output=True, text=True)
    file.unlink()
    assert float(done.stdout.split()[-1]) < 1.25
