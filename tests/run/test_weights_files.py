"""The files of weights of a real training: their names, what they say of it, and the picture beside the last one."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import Naming, write_naming
from sweeplora.rundir.record import read_result
from tests.run.trainings import Trainings

SIGNATURE = "0123456789ab"
WORDS = ("network.preset=attn-only", "train.save_every_epochs=1", "data.resolution=64", "train.probe_images=0")


def trained(trainings: Trainings, few: Path, name: str, stem: str) -> RunDir:
    words = (*WORDS, f"data.dir={few}")
    run = trainings.folder(name, *words)
    write_naming(run, Naming("test", stem, SIGNATURE))
    return trainings.train(name, *words)


def test_names_say_what_was_searched_and_the_bytes_only_what_was_trained(trainings: Trainings, few: Path) -> None:
    first = trained(trainings, few, "names-a", "test-dim8")
    second = trained(trainings, few, "names-b", "test-alpha4-lr1")
    files = sorted(file.name for file in first.weights.iterdir())
    assert files == ["test-dim8-000001.safetensors", "test-dim8.png", "test-dim8.safetensors"]
    result = read_result(first)
    assert result is not None and result.weights == "weights/test-dim8.safetensors"
    for ending in ("-000001.safetensors", ".safetensors", ".png"):
        one, other = first.weights / f"test-dim8{ending}", second.weights / f"test-alpha4-lr1{ending}"
        assert one.read_bytes() == other.read_bytes(), ending
    titles = set()
    for file in first.weights.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            told = opened.metadata()
        titles.add(told["ss_output_name"])
        assert told["modelspec.title"] == told["ss_output_name"]
        assert told["sweeplora.signature"] == SIGNATURE
        assert told["ss_max_train_steps"] == "2"
        assert (told["ss_num_batches_per_epoch"], told["ss_batch_size_per_device"]) == ("1", "4")
        buckets = json.loads(told["ss_bucket_info"])["buckets"]
        assert sum(bucket["count"] for bucket in buckets.values()) == 4
        assert len(told["ss_sd_model_hash"]) == 8 and len(told["ss_new_sd_model_hash"]) == 64
        assert json.loads(told["ss_datasets"])[0]["subsets"][0]["img_count"] == 4
    assert titles == {"test-01234567-000001", "test-01234567-000002"}
    last = max(first.samples.glob("*_00.png"))
    assert (first.weights / "test-dim8.png").read_bytes() == last.read_bytes()
