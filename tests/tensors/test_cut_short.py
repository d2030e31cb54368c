"""Whether a weights file was cut short, at any place and under any name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sweeplora.tensors.cut_short import cut_short

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "b.weight": torch.zeros(0, 4), "c.alpha": torch.tensor(2.0)}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The same tensors as torch.save and as safetensors write them."""
    names = [tmp_path / "whole.ckpt", tmp_path / "whole.safetensors", tmp_path / "plain.safetensors"]
    torch.save(STATE, names[0])
    save_file(STATE, names[1], {"ss_steps": "5"})
    save_file(STATE, names[2])
    return names


def test_a_file_is_whole_or_truncated_wherever_it_was_cut(files: list[Path], tmp_path: Path) -> None:
    for file in files:
        content = file.read_bytes()
        assert cut_short(file) is None
        for kept in (*range(9, len(content), 7), len(content) - 1):
            (tmp_path / "renamed").write_bytes(content[:kept])
            assert (cut_short(tmp_path / "renamed") or "").startswith("is truncated: "), (file.name, kept)


def test_what_is_of_another_format_is_not_called_truncated(tmp_path: Path) -> None:
    file = tmp_path / "other"
    for content in (b"\x80\x02 a pickle of before", b"version https://git-lfs", b"12345678{ no header", b"tiny"):
        file.write_bytes(content)
        assert cut_short(file) is None
