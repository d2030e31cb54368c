"""Metadata files: images with captions and tags in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from tests.convert.commands import NETWORK

_START = f"accelerate launch sdxl_train_network.py --pretrained_model_name_or_path=/m.safetensors {NETWORK} "


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("img").mkdir()
    for name in ("a.png", "b.webp"):
        (Path("img") / name).write_bytes(b"picture " + name.encode())
    content = {"a": {"caption": "a cat", "tags": "red, big"}, "img/b.webp": {"tags": "a dog"}}
    Path("meta.json").write_text(json.dumps(content))


def _captions(folder: str) -> dict[bytes, str]:
    files = sorted(file for file in Path(folder).iterdir() if file.suffix != ".txt")
    return {file.read_bytes(): file.with_suffix(".txt").read_text() for file in files}


def test_in_json_becomes_a_folder_of_links_with_captions() -> None:
    flags = "--train_data_dir=img --in_json=meta.json --resolution=512 --caption_extension=.txt --dataset_repeats=3"
    assert main([f"{_START} {flags} --output_name=it"]) == 0
    data = compose(["+sweep=it"]).config["data"]
    assert (data["caption_extension"], data["repeats"], data["folder_captions"]) == (".txt", 3, False)
    assert _captions(data["dir"]) == {b"picture a.png": "a cat,red, big", b"picture b.webp": "a dog"}


def test_metadata_of_a_subset_is_read_beside_a_folder() -> None:
    Path("d.toml").write_text(
        '[general]\ncaption_extension = ".txt"\n[[datasets]]\nresolution = 512\n'
        '[[datasets.subsets]]\nimage_dir = "img"\nmetadata_file = "meta.json"\nnum_repeats = 2\n'
        '[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "/other"\n'
    )
    assert main([f"{_START} --dataset_config=d.toml --output_name=both"]) == 0
    first, second = compose(["+sweep=both"]).config["data"]["subsets"]
    assert (first["repeats"], second["dir"]) == (2, "/other")
    assert len(_captions(first["dir"])) == 2


def test_windows_names_of_images_are_found_in_their_folders() -> None:
    Path("img/sub").mkdir()
    image = next(file for file in sorted(Path("img").iterdir()) if file.suffix in (".png", ".jpg", ".jpeg", ".webp"))
    image.rename(Path("img/sub", image.name))
    Path("meta.json").write_text(json.dumps({rf"sub\{image.stem}": {"caption": "a cat"}}))
    assert main([f"{_START} --train_data_dir='.\\img' --in_json=meta.json --resolution=512 --output_name=windows"]) == 0
    folder = Path(compose(["+sweep=windows"]).config["data"]["dir"])
    assert [link.resolve().name for link in folder.glob(f"*{image.suffix}")] == [image.name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"c": {"caption": "x"}}, "metadata_file=c: there is no such image in img"),
        ({"a": "x"}, "metadata_file=a"),
        ({"a": {"caption": 3}}, "must be text"),
        ([], "must hold images"),
    ],
)
def test_metadata_of_another_shape_is_refused_by_name(content: Any, said: str) -> None:
    Path("meta.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        main([f"{_START} --train_data_dir=img --in_json=meta.json --resolution=512"])
    assert not Path("sweeps").exists()
