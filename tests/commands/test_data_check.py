"""data check: what is in a folder of images, in words, as JSON and as a picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from sweeplora.__main__ import main
from tests.data.folders import picture
from tests.data.survey.test_look import scene

CLIP = ("model=sdxl", "data.resolution=64")
"""CLIP's own tokenizer; the shipped model has a smaller one."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two good pictures, a copy of one and one that looks like it, and one of each fault."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "set"
    images.mkdir()
    scene(1).save(images / "good.png")
    (images / "good.txt").write_text("cat, red sofa, night")
    shutil.copy(images / "good.png", images / "copy.png")
    (images / "copy.txt").write_text("cat, night")
    scene(1).resize((128, 96)).save(images / "small.jpg", quality=60)
    (images / "small.txt").write_text("cat, " + "word " * 90)
    picture(images / "other.png", (64, 200), "dog", seed=4)
    picture(images / "no_caption.png", (64, 64), None, seed=5)
    picture(images / "empty.png", (64, 64), " ,\n", seed=6)
    picture(images / "latin.png", (64, 64), None, seed=7)
    (images / "latin.txt").write_bytes("café".encode("latin-1"))
    (images / "cut.png").write_bytes((images / "good.png").read_bytes()[:2000])
    (images / "cut.txt").write_text("cat")
    (images / "photo.heic").write_bytes(b"x")
    return images


def facts(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    main(["data", "check", "--json", *words])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_every_fault_is_told_and_none_hides_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(capsys, str(folder), *CLIP)
    assert told["images"] == 8
    assert [one["image"] for one in told["damaged"]] == ["cut.png"] and "truncated" in told["damaged"][0]["fault"]
    assert told["captions"]["missing"] == ["no_caption.png"] and told["captions"]["empty"] == ["empty.png"]
    assert [one["image"] for one in told["captions"]["unreadable"]] == ["latin.png"]
    assert [(one["image"], one["tokens"]) for one in told["tokens"]["over"]] == [("small.jpg", 92)]
    assert told["tokens"]["limit"] == 75 and told["tokens"]["enough"] == 150
    assert told["tags"][:2] == [{"tag": "cat", "images": 3}, {"tag": "night", "images": 2}]
    assert told["duplicates"]["exact"] == [["copy.png", "good.png"]]
    assert told["duplicates"]["near"] == [["copy.png", "small.jpg"]]
    assert sum(one["images"] for one in told["buckets"]) == 7
    assert {"width": 256, "height": 192, "images": 2} in told["sizes"]
    assert len(told["refusals"]) == 4 and any("photo.heic" in line for line in told["notices"])


def test_a_folder_that_never_repeats_and_a_link_to_nothing_hide_no_other_fault(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "0_later").mkdir()
    picture(folder / "0_later/dog.png", (64, 64), "dog", seed=8)
    (folder / "gone.png").symlink_to("/elsewhere/gone.png")
    told = facts(capsys, str(folder), *CLIP)
    faults = {one["image"]: one["fault"] for one in told["damaged"]}
    assert faults["gone.png"] == "is a link to /elsewhere/gone.png, which is not there" and "cut.png" in faults
    refused = [line for line in told["refusals"] if "0_later" in line]
    assert refused == ["data.dir=0_later: a sub-folder that repeats its images 0 times; rename it or move it away"]
    assert told["captions"]["missing"] == ["gone.png", "no_caption.png"]


def test_weights_in_captions_are_told_where_they_are_trained_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["(red cat:1.3), [sofa], saber (fate)", "red cat, (sofa, lamp:0.8)", "red cat, 10:30, a:b"]
    for place, text in enumerate(texts):
        picture(tmp_path / f"{place}.png", (64, 64), text, seed=place)
    as_text = facts(capsys, str(tmp_path), *CLIP)
    assert [line for line in as_text["notices"] if "weight" in line] == [
        "2 captions have a weight such as (red cat:1.3), whose signs are trained as text: 0.png, 1.png; "
        "data.weighted_captions=true reads them as emphasis"
    ]
    assert {"tag": "(red cat:1.3)", "images": 1} in as_text["tags"]
    emphasis = facts(capsys, str(tmp_path), *CLIP, "data.weighted_captions=true")
    assert not any("weight" in line for line in emphasis["notices"])
    assert emphasis["tags"][:2] == [{"tag": "red cat", "images": 3}, {"tag": "sofa", "images": 2}]
    assert emphasis["tokens"]["longest"] < as_text["tokens"]["longest"]


def test_pixels_of_many_sizes_are_read_off_the_drawing_without_powers_of_ten() -> None:
    from sweeplora.data.survey.drawing import drawing

    sizes = [{"width": width, "height": 64, "images": 1} for width in (1, 60, 600, 3000)]
    bucket = {"width": 64, "height": 64, "images": 50, "held_out": 0}
    figure = drawing({"sizes": sizes, "buckets": [bucket]})
    FigureCanvasAgg(figure).draw()
    left, right = figure.axes
    for axis in (left.xaxis, left.yaxis):
        low, high = axis.get_view_interval()
        labels = [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert len(labels) >= 4 and all(label.isdigit() for label in labels), labels
    count = next(text for text in right.texts if text.get_text() == "50")
    assert count.get_window_extent().x1 < right.get_window_extent().x1  # inside of the frame


def test_the_table_names_them_all_and_the_exit_code_tells_of_faults(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(folder), "--tags", "2", *CLIP]) == 1
    said = capsys.readouterr().out
    for line in (
        f"{folder} (data.dir): 8 images",
        "  cut.png is damaged or truncated",
        "  1 image without a caption: no_caption.png",
        "  1 image with an empty caption: empty.png",
        "  latin.png: the caption is not UTF-8 text; save it as UTF-8",
        "  1 caption cut at model.max_tokens=75: small.jpg has 92; model.max_tokens=150 takes all",
        "duplicates, the same file: copy.png, good.png",
        "duplicates, looks alike: copy.png, small.jpg",
        "a training would refuse: 1 image cannot be trained on",
    ):
        assert line in said
    assert "red sofa" not in said  # the third tag
    for name in ("cut.png", "no_caption.png", "empty.png", "latin.png"):
        (folder / name).unlink()
    assert main(["data", "check", str(folder)]) == 0
    assert "a training would take all of it" in capsys.readouterr().out


def test_options_are_those_of_a_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = facts(capsys, str(folder), "data.bucket=false", "data.resolution=64", "model=sdxl", "model.max_tokens=225")
    assert [(one["width"], one["height"]) for one in small["buckets"]] == [(64, 64)]
    assert small["tokens"]["over"] == [] and small["tokens"]["limit"] == 225
    with_tokens = facts(
        capsys, str(folder), "data.class_tokens=thing", "data.caption_prefix=photo", "data.val_split=0.2"
    )
    assert with_tokens["captions"]["missing"] == [] and with_tokens["captions"]["substituted"] == ["no_caption.png"]
    assert not with_tokens["captions"]["empty_is_refused"] and with_tokens["held_out"] == 1
    # A model's family is enough: its file need not be here.
    full = facts(capsys, str(folder), "model=sdxl")
    assert full["resolution"] == [1024, 1024] and full["bucket_step"] == 32
    assert facts(capsys, str(folder), "model=sd15")["bucket_step"] == 64
    several = facts(capsys, "data=folder", f"data.subsets=[{{dir: {folder}, repeats: 3}}]")
    assert sum(one["uses"] for one in several["buckets"]) == 3 * 7


def test_the_configured_data_is_looked_into_where_no_folder_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check"]) == 0
    said = capsys.readouterr().out
    assert "(data.dir): 48 images" in said and "(data.val_dir): 16 images" in said


def test_sizes_and_buckets_are_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "check", str(folder), "--picture", "sizes.png"])
    with Image.open("sizes.png") as image:
        assert image.width > 800 and len(image.convert("RGB").getcolors(1 << 24) or ()) > 20
    capsys.readouterr()
    assert facts(capsys, str(folder))["images"] == 8  # it is not among the images


def test_a_drawing_replaces_a_drawing_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = picture(folder.parent / "mine.png", (64, 64), None, seed=9)
    before = mine.read_bytes()
    for kind in ("png", "svg", "pdf"):
        for _ in range(2):  # the second time over the first one
            main(["data", "check", str(folder), "--picture", f"sizes.{kind}"])
        assert not capsys.readouterr().err
    assert main(["data", "check", str(folder), "--picture", str(mine)]) == 2
    assert "this file is there already" in capsys.readouterr().err
    assert mine.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["look", "set"], "check"),
        (["check", "nowhere"], "data.dir=nowhere"),
        (["check", "set", "set"], "one folder at a time"),
        (["check", "set", "data.resolutoin=3"], "data.resolution"),
        (["check", "set", "data.resolution=0"], "data.resolution"),
        (["check", "set", "data.bucket_min=50"], "data.bucket_min=50"),
        (["check", "set", "--picture", "set/sizes.png"], "would be trained on"),
        (["check", "set", "--picture", "sizes.txt"], ".png"),
        (["check", "set", "--picture", "no/sizes.png"], "a folder that exists"),
        (["check", "set", "--tags", "few"], "--tags"),
        (["check", "set", "model.max_tokens=80"], "model.max_tokens"),
        (["check", "x" * 5000], "data.dir"),
        (["check", "a\0b"], "data.dir"),
        (["check", "set", "--picture", "a\0b.png"], "--picture"),
    ],
)
def test_what_is_asked_wrong_is_refused_in_a_line(
    words: list[str], named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words]) == 2
    said = capsys.readouterr()
    assert named in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not list(folder.glob("sizes*"))
