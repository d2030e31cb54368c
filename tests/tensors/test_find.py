"""Finding a file's tensors again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sweeplora.tensors.find import find_tensors
from sweeplora.tensors.stored import UnreadableFile


def test_a_file_that_did_not_change_is_read_once_and_one_that_did_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"one": torch.zeros(2, 3)}, file)
    first = find_tensors(file)
    kept = first["one"]
    first["other"] = first.pop("one")
    assert find_tensors(file) == {"one": kept}
    assert find_tensors(file)["one"] is kept
    save_file({"two": torch.zeros(2, 3)}, file)
    assert list(find_tensors(file)) == ["two"]
    file.write_bytes(file.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(UnreadableFile, match="truncated"):
            find_tensors(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        find_tensors(file)
