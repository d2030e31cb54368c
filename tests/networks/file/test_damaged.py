"""A network's file that is damaged, empty or of another network is said to be, before anything is trained."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sweeplora.__main__ import main
from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.file.held import read
from sweeplora.networks.file.write import save
from sweeplora.networks.merged_base import merge
from sweeplora.networks.network import attach
from tests.networks.models import moved, opened
from tests.networks.options import options

TO_Q = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
Write = Callable[[dict[str, Tensor]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(tensors: dict[str, Tensor]) -> Path:
        save_file(tensors, tmp_path / "network.safetensors")
        return tmp_path / "network.safetensors"

    return written


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Family:
    return opened("sdxl", tiny_model)


def layer(**changes: Tensor) -> dict[str, Tensor]:
    """One layer of a LoRA of the tiny model, with other tensors."""
    tensors = {"lora_up.weight": torch.zeros(64, 4), "lora_down.weight": torch.zeros(4, 64)}
    return {f"{TO_Q}.{name.replace('__', '.')}": value for name, value in {**tensors, **changes}.items()}


NAN, INFINITE = torch.full((64, 4), float("nan")), torch.full((64, 4), float("-inf")).half()
BROKEN: dict[str, tuple[dict[str, Tensor], str]] = {
    "no tensors": ({}, "holds no tensors"),
    "nan": (layer(**{"lora_up.weight": NAN}), f"{TO_Q}.lora_up.weight has numbers that are not finite"),
    "infinity": (layer(**{"lora_up.weight": INFINITE}), f"{TO_Q}.lora_up.weight has numbers that are not finite"),
    "bfloat16": (layer(**{"lora_up.weight": NAN.bfloat16()}), "not finite"),
    "nan alpha": (layer(alpha=torch.tensor(float("nan"))), f"{TO_Q}.alpha has numbers that are not finite"),
    "many alphas": (layer(alpha=torch.ones(3)), f"is damaged: {TO_Q} has an alpha of [3]"),
    "ranks that differ": (layer(**{"lora_up.weight": torch.zeros(64, 3)}), f"is damaged: {TO_Q} lora_up.weight is"),
    "half of it": ({f"{TO_Q}.lora_up.weight": torch.zeros(64, 4)}, f"is damaged: {TO_Q} lacks lora_down.weight"),
    "half of a lokr": ({f"{TO_Q}.lokr_w1": torch.zeros(8, 8)}, f"is damaged: {TO_Q} lacks lokr_w2"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    "words",
    [["network.weights={}"], ["network.weights={}", "network.dim_from_weights=true"], ["model.base_weights=[{}]"]],
)
def test_a_broken_file_is_refused_by_its_own_key_and_name(
    kind: str,
    words: list[str],
    write: Write,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors, said = BROKEN[kind]
    file = write(tensors)
    given = [word.format(file) for word in words]
    runs = file.with_name("runs")
    place = [f"runs={runs}", "tracking=none", f"model.path={tiny_model}"]
    assert main([*place, "sample=none", *given]) == 2
    printed = capsys.readouterr()
    (line,) = (printed.out + printed.err).strip().splitlines()
    assert f"{given[0].partition('=')[0]}={file}" in line
    assert said in line
    assert not (runs / "single").exists()


def notices(tiny_model: Path, tmp_path: Path, *words: str) -> list[str]:
    """What the check says of the file that a network starts from."""
    place = [f"runs={tmp_path / 'runs'}", f"model.path={tiny_model}", "sample=none"]
    return [one for one in check(compose([*place, *words])).notices if "network.weights" in one]


@pytest.mark.parametrize(("takes", "rest"), [("false", "the others start anew"), ("true", "only these train")])
def test_a_file_that_fits_few_layers_is_said_with_their_number(
    takes: str, rest: str, write: Write, tiny_model: Path, tmp_path: Path
) -> None:
    words = [f"network.weights={write(layer())}", "network.dim=4", f"network.dim_from_weights={takes}"]
    words = [word for word in words if takes == "false" or "dim=" not in word]
    (said,) = notices(tiny_model, tmp_path, *words)
    assert f"holds 1 of the 263 layers that the network selects: {rest}" in said


def test_a_file_that_fits_every_layer_is_not_mentioned(tiny: Family, tiny_model: Path, tmp_path: Path) -> None:
    with moved(tiny, options("locon")) as network:
        save(tmp_path / "whole.safetensors", network.state_dict(), {}, torch.float16)
    assert notices(tiny_model, tmp_path, f"network.weights={tmp_path / 'whole.safetensors'}") == []


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_flipped_bytes_are_refused_in_one_line_or_make_no_difference_to_reading(
    suffix: str, count: int, tiny: Family, tmp_path: Path
) -> None:
    """Whatever a damaged file is like, reading, starting and merging it end well or in one line that names it."""
    whole, damaged = tmp_path / f"whole.{suffix}", tmp_path / f"damaged.{suffix}"
    with moved(tiny, options("locon", preset="attn-only", dim=1)) as network:
        state = {name: value for name, value in network.state_dict().items() if name.startswith(TO_Q[:40])}
        save(whole, state, {}, torch.float16)
    data, draw, refused = whole.read_bytes(), random.Random(5), 0
    options_of = options("locon", preset="attn-only", dim=1, weights=str(damaged))
    for number in range(count):
        changed = bytearray(data)
        for _ in range(draw.choice((1, 1, 4))):
            place = draw.randrange(len(data) if number % 2 else min(len(data), 4096))
            changed[place] = draw.randrange(256)
        damaged.write_bytes(changed if number % 5 else data[: draw.randrange(len(data))])
        try:
            read("network.weights", damaged, tiny.facts)
            network = attach(tiny, options_of, 0)
            network.detach()
            merge(tiny, [damaged], [0.0])
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
            assert error.key in ("network.weights", "model.base_weights")
    assert refused > count / 4


@pytest.mark.parametrize(("precision", "count"), [("fp16", 1), ("bf16", 1), ("fp32", 0)])
def test_what_a_t_loras_file_loses_in_half_precision_is_said(
    precision: str, count: int, tiny_model: Path, tmp_path: Path
) -> None:
    words = [f"runs={tmp_path}", f"model.path={tiny_model}", "sample=none", "network=tlora"]
    said = check(compose([*words, f"train.save_precision={precision}"])).notices
    assert len([one for one in said if "loses 6 to 28 % of a small update" in one]) == count
