"""A tree of values and tensors comes back as it was, and a changed byte is noticed."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sweeplora.tensors.stored import UnreadableFile
from sweeplora.tensors.tree import NotStorable, read_tree, write_tree

CPU = torch.device("cpu")


class Quantized(torch.Tensor):
    """A tensor whose bytes are elsewhere, such as torchao's."""


TREE: dict[str, Any] = {
    "none": None, "yes": True, "count": 3, "rate": 1e-323, "inf": -math.inf, "word": 'a "quoted" ü',
    "pair": (0.9, (1, None)), "list": [1, [True]], "empty": {}, "marks": {"tensor": 1}, "two": {"same": 0, "map": 2},
    "numbers": {0: "int", "0": "text"},
    "scalar": torch.tensor(7.5), "none_at_all": torch.empty(0, 3), "bits": torch.tensor([[True, False]]),
    "half": torch.randn(3, 5).to(torch.bfloat16), "view": torch.arange(12.0).view(3, 4)[:, 1::2],
    "layers": {index: {"step": torch.tensor(1.0 + index), "mean": torch.randn(2, 3)} for index in range(4)},
    "bytes": torch.tensor([1, 255], dtype=torch.uint8), "long": torch.tensor([1 << 40]),
    "keys": {0.9: 1, None: 2, True: 3, ("a", (1, 2.5)): 4}, "shape": torch.Size([2, 3]), "kind": torch.bfloat16,
    "last": deque([torch.ones(2), 3], maxlen=4), "some": {3, "x"}, "of_numpy": np.float32(0.1),
    "backwards": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1], "no_dims": np.array(2.5),
    "choice": {"set": [1]}, "endless": np.float64("inf"),
    "one_of_many": torch.arange(20.0).view(2, 10)[:, 3:4][0],
}  # fmt: skip


def test_every_value_comes_back_with_its_type(tmp_path: Path) -> None:
    write_tree(tmp_path / "t.safetensors", TREE, {"step": 3})
    tree, about = read_tree(tmp_path / "t.safetensors", CPU)
    assert about == {"step": 3}
    assert _plain(tree) == _plain(TREE)
    assert math.isnan(_round(tmp_path, {"x": math.nan})["x"])


def test_a_tensor_comes_back_in_the_order_that_it_has_in_memory(tmp_path: Path) -> None:
    whole = torch.arange(120.0).view(2, 3, 4, 5)
    for tensor in (
        whole.to(memory_format=torch.channels_last), whole.transpose(1, 3), whole[0, 0].T, whole[:, 1:, ::2],
        whole[:, :1, :1, 2:3], whole.expand(2, 2, 3, 4, 5),
    ):  # fmt: skip
        found = _round(tmp_path, {"x": [tensor, torch.ones(3)]})["x"]
        assert torch.equal(found[0], tensor) and torch.equal(found[1], torch.ones(3))
        dense = tensor.clone(memory_format=torch.preserve_format)
        assert found[0].stride() == tensor.stride() or tensor.stride() != dense.stride()


def test_other_programs_can_open_it_and_its_header_is_json(tmp_path: Path) -> None:
    write_tree(tmp_path / "t.safetensors", TREE, {"step": 3})
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert json.loads(file.metadata()["about"]) == {"step": 3}
        assert json.loads(file.metadata()["tree"])["tree"]["count"] == 3
        assert file.get_tensor("BF16").tolist() == TREE["half"].flatten().tolist()


def test_what_is_no_plain_value_is_refused_by_its_place(tmp_path: Path) -> None:
    for value, told in (
        (torch.relu, r"groups\[1\]\.x is a builtin"),
        ({b"1": 0}, r"groups\[1\]\.x has a key"),
        (Quantized(), "Quantized"),
    ):
        with pytest.raises(NotStorable, match=told):
            write_tree(tmp_path / "t.safetensors", {"groups": [0, {"x": value}]}, {})
    assert not list(tmp_path.iterdir())


def test_a_changed_byte_or_a_lost_end_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    write_tree(file, TREE, {"step": 3})
    whole = file.read_bytes()
    draw = random.Random(0)
    for place in [0, 8, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(200))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            tree, _ = read_tree(file, CPU)
        except UnreadableFile:
            continue
        assert whole[place : place + 1] == b" " and _plain(tree) == _plain(TREE)  # the header's padding
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(UnreadableFile):
            read_tree(file, CPU)


def _round(folder: Path, tree: dict[str, Any]) -> dict[str, Any]:
    write_tree(folder / "r.safetensors", tree, {})
    return read_tree(folder / "r.safetensors", CPU)[0]


def _plain(value: Any) -> Any:
    """The value with tensors as dtype, shape and content, so that == compares types too."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return {(type(key), key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tolist()
    if isinstance(value, deque):
        return value.maxlen, [_plain(item) for item in value]
    if isinstance(value, list | tuple):
        return type(value), [_plain(item) for item in value]
    return type(value), value
