"""Finds the tensors of a weights file of any format from its header alone; no torch."""

from __future__ import annotations

from pathlib import Path

from sweeplora.tensors.pickled import read_checkpoint
from sweeplora.tensors.safetensors_header import read_safetensors
from sweeplora.tensors.stored import Stored


def find_tensors(file: Path) -> dict[str, Stored]:
    """Every tensor of a .safetensors, or of a .ckpt, .pt or .pth that torch.save wrote, by name.

    Raises UnreadableFile if the file cannot be used, FileNotFoundError if it does not exist.
    """
    return read_safetensors(file) if file.suffix.lower() == ".safetensors" else read_checkpoint(file)
