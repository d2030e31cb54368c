"""A base model in a file with changed bytes: it is refused in one line, or what is read of it is what was written."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sweeplora.__main__ import main
from sweeplora.check.base_files import refuse_damaged
from sweeplora.content import ContentHashes
from sweeplora.errors import UserError
from sweeplora.models import tiny
from sweeplora.models.facts import ModelFacts
from tests.models import families, originals_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("folder") / "sdxl", "sdxl", clip=True)


def read(file: Path, memo: Path) -> ModelFacts:
    """What the check reads of a model: its header, and its numbers where they have checksums."""
    facts = families.sdxl(file).facts()
    refuse_damaged(facts, ContentHashes(Path(os.devnull)), memo)
    return facts


def told(facts: ModelFacts) -> object:
    """All that is read of a file's header; of a .ckpt, whose numbers have checksums, these too."""
    places = {part: dict(one.tensors) for part, one in facts.parts.items()}
    digest = hashlib.sha256()
    if facts.path.suffix == ".ckpt":
        data = memoryview(facts.path.read_bytes())
        for one in sorted((one for part in places.values() for one in part.values()), key=lambda one: one.offset):
            digest.update(data[one.offset : one.offset + one.extent])
    return places, {part: dict(one.config) for part, one in facts.parts.items()}, dict(facts.scheduler), digest.digest()


@contextmanager
def changed(file: Path, places: set[int], draw: random.Random) -> Iterator[None]:
    """The file with other bytes at some places, for as long as the context lasts."""
    with file.open("r+b") as stream:
        before = {place: os.pread(stream.fileno(), 1, place) for place in places}
        for place, byte in before.items():
            os.pwrite(stream.fileno(), bytes([byte[0] ^ draw.randrange(1, 256)]), place)
        try:
            yield
        finally:
            for place, byte in before.items():
                os.pwrite(stream.fileno(), byte, place)


@pytest.mark.parametrize("count", [15, pytest.param(1250, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_changed_bytes_of_a_model_are_refused_in_one_line_or_change_nothing_that_is_read(
    suffix: str, count: int, folder: Path, tmp_path: Path
) -> None:
    file, memo = originals_of.write(folder, tmp_path / f"model.{suffix}"), tmp_path / "whole.json"
    whole, size, refused = told(read(file, memo)), file.stat().st_size, 0
    draw = random.Random(count)
    for number in range(count):
        places = {draw.randrange(size if draw.random() < 0.3 else 1 << 16) for _ in range(draw.choice((1, 1, 3)))}
        if suffix == "ckpt" and number % 2:  # an archive's index lies at its end
            places = {size - 1 - place for place in places}
        with changed(file, places, draw):
            try:
                assert told(read(file, memo)) == whole, places
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and str(file) in str(error)
    assert told(read(file, memo)) == whole
    assert refused > count / 3


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("model.path", "p.safetensors"), ("model.path", "p.ckpt"), ("model.vae", "p.safetensors")),
        *(("model.path", "sdxl/model_index.json"), ("model.path", "sdxl/unet/config.json")),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(
    key: str, name: str, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Opening one waits for whoever writes to it."""
    pipe = tmp_path / name
    if len(Path(name).parts) > 1:
        shutil.copytree(tiny_model, tmp_path / "sdxl")
        pipe.unlink()
    os.mkfifo(pipe)
    given = tmp_path / Path(name).parts[0]
    assert (
        main(["model=sdxl", f"model.path={tiny_model}", f"runs={tmp_path}/runs", "sample=none", f"{key}={given}"]) == 2
    )
    assert f"{key}={given}" in capsys.readouterr().err


@pytest.mark.parametrize(("part", "value"), [("unet", "nan"), ("text_encoder", "inf"), ("vae", "-inf")])
def test_a_base_with_a_number_that_is_not_finite_is_refused_and_not_the_images(
    part: str, value: str, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    (file,) = (base / part).glob("*.safetensors")
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[-1] = float(value)
    save_file(tensors, file)
    assert main(["model=sdxl", f"model.path={base}", f"runs={tmp_path}/runs", "sample=none"]) == 2
    said = capsys.readouterr().err
    assert f"model.path={file}: " in said and f"{name} of its {part} has numbers that are not finite" in said
