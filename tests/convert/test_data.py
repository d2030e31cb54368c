"""Folders and datasets' files into the group `data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.convert.conversion import Conversion, convert
from sweeplora.convert.entries import settings
from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.source import read
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError
from tests.convert.commands import converted, fate, keys, of_text

_THREE = """
[general]
shuffle_caption = true
keep_tokens = 1
caption_extension = "txt"
flip_aug = true

[[datasets]]
resolution = [768, 512]
batch_size = 4
enable_bucket = true
min_bucket_reso = 300
keep_tokens = 2

  [[datasets.subsets]]
  image_dir = "/a"
  num_repeats = 3
  class_tokens = "girl"

  [[datasets.subsets]]
  image_dir = "/b"
  flip_aug = false
  cache_info = true

[[datasets]]
resolution = 512
batch_size = 4

  [[datasets.subsets]]
  image_dir = "/r"
  is_reg = true
  shuffle_caption = false
"""


def _with_file(tmp_path: Path, text: str, flags: str = "", name: str = "d.toml") -> Conversion:
    file = tmp_path / name
    file.write_text(text)
    return of_text(
        "accelerate launch --num_processes=2 sdxl_train_network.py --pretrained_model_name_or_path=/m.safetensors "
        f"--output_name=it --network_module=lycoris.kohya --dataset_config={file} {flags}"
    )


def _values(tmp_path: Path, text: str, flags: str = "") -> dict[str, Any]:
    return settings(_with_file(tmp_path, text, flags).entries)


def test_what_all_subsets_share_is_said_once_and_the_nearest_table_wins(tmp_path: Path) -> None:
    made = _values(tmp_path, _THREE)
    assert made["data.caption_extension"] == ".txt"
    first, second, third = made["data.subsets"]
    assert first == {
        "dir": "/a",
        "resolution": [768, 512],
        "bucket": True,
        "bucket_step": 64,
        "bucket_min": 256,
        "bucket_max": 1024,
        "repeats": 3,
        "class_tokens": "girl",
        "shuffle_caption": True,
        "keep_tokens": 2,
        "flip": True,
    }
    assert second["flip"] is False
    assert "repeats" not in second
    assert third == {
        "dir": "/r",
        "is_reg": True,
        "resolution": 512,
        "bucket": False,
        "shuffle_caption": False,
        "flip": True,
    }
    assert made["train.batch_size"] == 8
    assert made["data.prior_loss_weight"] == 1.0


def test_every_key_of_the_file_is_accounted_for(tmp_path: Path) -> None:
    made = _with_file(tmp_path, _THREE, "--keep_tokens=5 --train_data_dir=/x --train_batch_size=9")
    assert fate(made, "[general] keep_tokens") == {"no effect"}
    assert fate(made, "[[datasets]] 1 keep_tokens") == {"became"}
    assert fate(made, "[[datasets]] 1 min_bucket_reso") == {"became"}
    assert fate(made, "[[datasets.subsets]] 1.2 cache_info") == {"no effect"}
    assert fate(made, "[[datasets.subsets]] 2.1 is_reg") == {"became"}
    assert (
        fate(made, "--keep_tokens")
        == fate(made, "--train_data_dir")
        == fate(made, "--train_batch_size")
        == {"no effect"}
    )


def test_flags_stand_for_what_no_table_says(tmp_path: Path) -> None:
    text = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "/a"\n'
    made = _values(tmp_path, text, "--resolution=512 --color_aug --dataset_repeats=2 --train_batch_size=3")
    assert (made["data.dir"], made["data.resolution"], made["data.color"], made["data.repeats"]) == ("/a", 512, True, 2)
    assert made["train.batch_size"] == 6
    assert "data.subsets" not in made


def test_the_file_may_be_json(tmp_path: Path) -> None:
    text = json.dumps({"datasets": [{"resolution": 512, "subsets": [{"image_dir": "/a"}]}]})
    assert settings(_with_file(tmp_path, text, name="d.json").entries)["data.dir"] == "/a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_THREE.replace("batch_size = 4", "batch_size = 2", 1), "batch_size 2, 4"),
        (_THREE.replace("flip_aug", "flip_agu", 1), "flip_agu.*nearest: flip_aug"),
        (_THREE.replace('"/r"', '"/r"\nmetadata_file = "none.json"'), "metadata_file=none.json: there is no such file"),
        (_THREE.replace('"/r"', '"/r"\nconditioning_data_dir = "/m"'), "--masked_loss only"),
        ("[general]\nflip_aug = true", "no \\[\\[datasets.subsets\\]\\]"),
    ],
)
def test_a_file_that_cannot_be_kept_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _with_file(tmp_path, text)


def test_masks_come_from_a_folder_with_masked_loss(tmp_path: Path) -> None:
    text = '[[datasets]]\nresolution=512\n[[datasets.subsets]]\nimage_dir = "/a"\nconditioning_data_dir = "/m"\n'
    assert _values(tmp_path, text, "--masked_loss")["data.mask_dir"] == "/m"
    assert fate(converted("--masked_loss"), "--masked_loss") == {"no effect"}


def test_without_buckets_their_sizes_do_nothing() -> None:
    made = converted("--min_bucket_reso=320 --bucket_no_upscale")
    assert settings(made.entries)["data.bucket"] is False
    assert fate(made, "--min_bucket_reso") == fate(made, "--bucket_no_upscale") == {"no effect"}


def test_buckets_that_shrink_only_have_no_bounds() -> None:
    made = converted("--enable_bucket --bucket_no_upscale --max_bucket_reso=2048")
    values = settings(made.entries)
    assert values["data.bucket_no_upscale"] is True
    assert "data.bucket_max" not in values
    assert fate(made, "--max_bucket_reso") == {"no effect"}


def test_kept_tokens_do_nothing_where_captions_are_not_split() -> None:
    assert fate(converted("--keep_tokens=1"), "--keep_tokens") == {"no effect"}
    assert keys("--keep_tokens=1 --shuffle_caption")["data.keep_tokens"] == 1


def test_folders_that_sd_scripts_ignores_are_named(tmp_path: Path) -> None:
    for name in ("3_cats", "dogs"):
        (tmp_path / name).mkdir()
    made = converted(f"--train_data_dir={tmp_path} --reg_data_dir=/r --prior_loss_weight=0.5")
    (entry,) = [entry for entry in made.entries if entry.key == "data.dir"]
    assert entry.note.endswith("sd-scripts ignores them, sweeplora uses them: dogs")
    assert settings(made.entries)["data.reg_dir"] == "/r"
    assert settings(made.entries)["data.prior_loss_weight"] == 0.5


def test_cached_latents_are_one_draw_as_there() -> None:
    made = keys("--cache_latents_to_disk --vae_batch_size=4")
    assert (made["data.cache_latents"], made["data.latents"], made["data.vae_batch_size"]) == (True, "frozen", 4)
    assert "data.latents" not in keys("")


def test_cached_text_that_cannot_be_is_said_before_the_check_does() -> None:
    made = converted("--cache_text_encoder_outputs --network_train_unet_only --shuffle_caption")
    (entry,) = [entry for entry in made.entries if entry.key == "data.cache_text"]
    assert "not with shuffle_caption" in entry.note


def test_held_out_images_and_when_they_are_scored() -> None:
    flags = "--validation_split=0.1 --validate_every_n_steps=5 --max_validation_steps=3 --train_batch_size=2 --seed=7"
    made = keys(flags)
    assert made["data.val_split"] == 0.1
    assert made["data.validation_seed"] == 7
    assert (made["train.validate_every_steps"], made["train.validate_every_epochs"]) == (5, 1)
    assert made["train.validation_images"] == 6
    assert fate(converted("--validate_every_n_steps=5"), "--validate_every_n_steps") == {"no effect"}


def test_flags_that_the_reference_does_not_read_beside_a_folder_do_nothing() -> None:
    made = converted("--dataset_repeats=3 --conditioning_data_dir=/m --masked_loss")
    assert fate(made, "--dataset_repeats") == fate(made, "--conditioning_data_dir") == {"no effect"}
    assert not {"data.repeats", "data.mask_dir"} & settings(made.entries).keys()


_ONE = '[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "/a"\n'


def test_a_weight_of_regularisation_beside_one_subset_does_nothing(tmp_path: Path) -> None:
    assert fate(_with_file(tmp_path, _ONE, "--prior_loss_weight=0.5"), "--prior_loss_weight") == {"no effect"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            _ONE + 'flip_aug = "false"',
            r"flip_aug = \"false\".*true or false for flip_aug in \[\[datasets.subsets\]\] 1.1",
        ),
        (_ONE.replace("512", '512\nbatch_size = "2"'), r"batch_size = \"2\".*a whole number"),
        (_ONE.replace("512", '512\nmin_bucket_reso = "256"'), "a whole number for min_bucket_reso"),
        (_ONE.replace("512", "512\nenable_bucket = 1"), "true or false"),
        (_ONE.replace("512", '"512"'), r"resolution = .*two, \[width, height\]"),
        (_ONE.replace("512", "[512, 512, 512]"), "resolution"),
        (_ONE + "num_repeats = 2.0", "a whole number for num_repeats"),
        (_ONE + "num_repeats = true", "a whole number for num_repeats"),
        (_ONE + "caption_dropout_rate = '0.1'", "a number for caption_dropout_rate"),
        (_ONE.replace('"/a"', "3"), "text for image_dir"),
        (_ONE.replace("512", "512\nvalidation_split = 1"), "a decimal number"),
        ("[datasets]\nresolution = 512", r"write \[\[datasets\]\]"),
        ("datasets = 3", r"datasets 3.*\[\[datasets\]\]"),
        ("[[datasets]]\nresolution=512\n[datasets.subsets]\nimage_dir='/a'", r"write \[\[datasets.subsets\]\]"),
        ("general = 3\n" + _ONE, r"general 3.*\[general\]"),
        (_ONE.replace("512", "512\nenable_bucket = true\nbucket_reso_steps = 0"), "bucket_reso_steps=0"),
    ],
)
def test_values_of_another_type_are_refused_as_sd_scripts_does(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _with_file(tmp_path, text)


def test_null_and_lists_in_json_are_refused(tmp_path: Path) -> None:
    contents: tuple[Any, ...] = (
        [],
        {"datasets": [3]},
        {"datasets": [{"resolution": None, "subsets": [{"image_dir": "/a"}]}]},
    )
    for content in contents:
        with pytest.raises(UserError, match="--dataset_config"):
            _with_file(tmp_path, json.dumps(content), name="d.json")


def test_a_value_that_all_subsets_share_is_called_so(tmp_path: Path) -> None:
    text = _ONE + 'flip_aug = true\nkeep_tokens = 2\n[[datasets.subsets]]\nimage_dir = "/b"\nflip_aug = true\n'
    made = _with_file(tmp_path, "[general]\nflip_aug = true\ncolor_aug = true\n" + text)
    notes = {entry.flag: entry.note for entry in made.entries}
    assert settings(made.entries)["data.flip"] is True
    assert notes["[[datasets.subsets]] 1.2 flip_aug"] == "data.flip, the same for all subsets"
    assert notes["[general] flip_aug"] == "overridden by a table closer to each subset"
    assert not [flag for flag, note in notes.items() if "every subset" in note]


def test_a_file_is_found_beside_the_script_and_below_the_folder_it_changes_to(tmp_path: Path) -> None:
    (tmp_path / "sd-scripts" / "config").mkdir(parents=True)
    (tmp_path / "sd-scripts" / "config" / "d.toml").write_text(_ONE)
    (tmp_path / "beside.toml").write_text(_ONE.replace("/a", "/beside"))
    for name, folder in (("config/d.toml", "/a"), ("beside.toml", "/beside")):
        script = tmp_path / "train.sh"
        text = (
            "cd sd-scripts\naccelerate launch sdxl_train_network.py --pretrained_model_name_or_path=/m.safetensors "
            f"--network_module=lycoris.kohya --output_name=it --dataset_config={name}\n"
        )
        reading = read(Script(text, "train.sh", script))
        (training,) = find(reading)
        assert settings(convert(settle(training, reading.script)).entries)["data.dir"] == folder


def test_a_file_that_the_script_writes_is_read() -> None:
    text = (
        'SIZE=768\ncat > d.toml <<EOF\n[[datasets]]\nresolution = $SIZE\n[[datasets.subsets]]\nimage_dir = "/a"\nEOF\n'
        "accelerate launch sdxl_train_network.py --pretrained_model_name_or_path=/m.safetensors "
        "--network_module=lycoris.kohya --output_name=it --dataset_config=d.toml"
    )
    assert settings(of_text(text).entries)["data.resolution"] == 768
    with pytest.raises(UserError, match=r"the script writes it, and \$SIDE in it is set nowhere"):
        of_text(text.replace("$SIZE", "$SIDE"))
