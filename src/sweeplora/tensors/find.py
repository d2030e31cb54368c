"""The tensors of a file of weights found by its header alone, whatever its format; no torch."""

from __future__ import annotations

from pathlib import Path

from sweeplora.tensors.pickled import read_checkpoint
from sweeplora.tensors.safetensors_header import read_safetensors
from sweeplora.tensors.stored import Stored


def find_tensors(file: Path) -> dict[str, Stored]:
    """Every tensor of a .safetensors, or of a .ckpt, .pt or .pth that torch.save wrote, by name.

    Raises UnreadableFile where the file cannot be used, FileNotFoundError where there is none.
    """
    return read_safetensors(file) if file.suffix.lower() == ".safetensors" else read_checkpoint(file)
