"""A `.ckpt` is read without torch and without running what it asks for."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from sweeplora.tensors.pickled import damaged_record, read_checkpoint
from sweeplora.tensors.reading import read_tensors
from sweeplora.tensors.stored import UnreadableFile

CPU = torch.device("cpu")
RAN: list[str] = []


class Attack:
    """An object whose pickle calls a function when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import tests.tensors.test_pickled as t; t.RAN.append('code')",)


def loaded(file: Path) -> dict[str, torch.Tensor]:
    return dict(read_tensors(read_checkpoint(file), CPU))


def test_tensors_of_every_layout_are_those_that_torch_loads(tmp_path: Path) -> None:
    file, base = tmp_path / "a.ckpt", torch.randn(6, 8)
    tensors = {
        "whole": base,
        "view": base[2:, 1:5],
        "transposed": base.T,
        "half": torch.randn(3).half(),
        "brain": torch.randn(2, 3, 1, 1).bfloat16(),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        "parameter": nn.Parameter(torch.randn(4)),
        "numbers": torch.arange(5),
    }
    torch.save(tensors, file)
    found = loaded(file)
    assert found.keys() == tensors.keys()
    for name, tensor in torch.load(file, weights_only=True).items():
        assert torch.equal(found[name], tensor.detach().to(found[name].dtype)), name


def test_a_trainings_checkpoint_gives_its_state_dict(tmp_path: Path) -> None:
    file, module = tmp_path / "a.ckpt", nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    extras = {"best": numpy.float32(0.5), "betas": (0.9, 0.99), "sizes": torch.Size([2, 3]), "lr": OrderedDict(a=1)}
    torch.save({"epoch": 1, "state_dict": module.state_dict(), "callbacks": extras}, file)
    found = loaded(file)
    assert found.keys() == module.state_dict().keys()
    assert torch.equal(found["0.weight"], module.state_dict()["0.weight"])


def test_what_lightning_leaves_behind_means_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "callbacks": {}}, file)
    records = zipfile.ZipFile(file)
    name = next(name for name in records.namelist() if name.endswith("data.pkl"))
    marker = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    content = records.read(name).replace(b"X\x09\x00\x00\x00callbacks", b"X\x09\x00\x00\x00callbacks" + marker + b"0")
    assert marker in content
    changed = tmp_path / "b.ckpt"
    with zipfile.ZipFile(changed, "w") as archive:
        for other in records.namelist():
            archive.writestr(other, content if other == name else records.read(other))
    assert torch.equal(loaded(changed)["a"], torch.ones(2))


@pytest.mark.parametrize(
    "content", [Attack(), {"state_dict": {"a": torch.ones(1)}, "x": Attack()}], ids=["bare", "inside"]
)
def test_a_pickle_that_holds_code_is_refused_by_name_and_not_run(content: object, tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    torch.save(content, file)
    with pytest.raises(UnreadableFile, match=r"asks for (builtins|__builtin__)\.exec, which could run code"):
        read_checkpoint(file)
    assert not RAN


def test_a_class_of_someones_own_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "a.ckpt")
    with pytest.raises(UnreadableFile, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_files_that_are_no_such_archive_say_what_they_are(tmp_path: Path) -> None:
    file, whole, packed = tmp_path / "a.ckpt", tmp_path / "whole.ckpt", io.BytesIO()
    torch.save({"a": torch.ones(1000)}, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    with zipfile.ZipFile(text := io.BytesIO(), "w") as other:
        other.writestr("readme.txt", "hello")
    former = io.BytesIO()
    torch.save({"a": torch.ones(2)}, former, _use_new_zipfile_serialization=False)
    for content, words in (
        (whole.read_bytes()[:-300], "is a truncated or damaged archive"),
        (former.getvalue(), r"before torch 1\.6"),
        (b"<html>", "is no checkpoint"),
        (packed.getvalue(), "compressed"),
        (text.getvalue(), r"holds no data\.pkl"),
        (pickle.dumps([1, 2]), r"before torch 1\.6"),
    ):
        file.write_bytes(content)
        with pytest.raises(UnreadableFile, match=words):
            read_checkpoint(file)
    torch.save([torch.ones(2)], file)
    with pytest.raises(UnreadableFile, match="no state dict"):
        read_checkpoint(file)


def test_a_changed_byte_of_a_number_is_told_by_the_archives_checksum(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    torch.save({"a": torch.arange(500.0), "b": torch.ones(3)}, file)
    assert damaged_record(file) is None
    data, place = file.read_bytes(), read_checkpoint(file)["a"].offset + 400
    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert damaged_record(file) == "a/data/0"


def test_a_checkpoint_that_was_written_without_checksums_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(500.0)}, file)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(loaded(file)["a"], torch.arange(500.0))
    assert damaged_record(file) is None
