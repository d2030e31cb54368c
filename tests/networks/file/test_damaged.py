"""A network's file that is damaged, empty or of another network is said to be, before anything is trained."""

from __future__ import annotations

import json
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
from sweeplora.networks.file.fit import hash_notices
from sweeplora.networks.file.held import read
from sweeplora.networks.file.write import save
from sweeplora.networks.merged_base import merge
from sweeplora.networks.network import attach
from sweeplora.tensors.find import find_tensors
from sweeplora.tensors.reading import read_tensors
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


def place_of(tiny_model: Path, tmp_path: Path) -> list[str]:
    return [f"runs={tmp_path / 'runs'}", f"model.path={tiny_model}", "sample=none"]


def notices(tiny_model: Path, tmp_path: Path, *words: str) -> list[str]:
    """What the check says of the file that a network starts from."""
    return [
        one for one in check(compose([*place_of(tiny_model, tmp_path), *words])).notices if "network.weights" in one
    ]


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


def loaded(file: Path) -> dict[str, Tensor]:
    """A file's tensors as they are read here."""
    return dict(read_tensors(find_tensors(file), torch.device("cpu"), torch.float16))


def faults(changed: Path, whole: dict[str, Tensor], damaged: bool) -> list[str]:
    """What is wrong with a file's being taken: nothing of its form may have changed, nor any number with a checksum."""
    found = loaded(changed)
    forms = [{name: (one.dtype, one.shape) for name, one in tensors.items()} for tensors in (found, whole)]
    wrong = [] if forms[0] == forms[1] else ["it has other tensors"]
    same = not wrong and all(torch.equal(found[name], one) for name, one in whole.items())
    if not same and changed.suffix == ".ckpt":
        wrong.append("a checksum in it is wrong")
    if not same and not damaged:
        wrong.append("its numbers are others, and no notice says so")
    return wrong


@pytest.mark.parametrize("count", [40, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_flipped_bytes_are_refused_in_one_line_or_make_no_difference_to_reading(
    suffix: str, count: int, tiny: Family, tmp_path: Path
) -> None:
    """Whatever a damaged file is like, reading, starting and merging it end well or in one line that names it."""
    whole, damaged = tmp_path / f"whole.{suffix}", tmp_path / f"damaged.{suffix}"
    with moved(tiny, options("locon", preset="attn-only", dim=1)) as network:
        state = {name: value for name, value in network.state_dict().items() if name.startswith(TO_Q[:40])}
        save(whole, state, {}, torch.float16)
    data, tensors, draw, refused = whole.read_bytes(), loaded(whole), random.Random(5), 0
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
        else:
            said = hash_notices("network.weights", [damaged])
            assert faults(damaged, tensors, bool(said)) == [], f"{suffix}, number {number}"
    assert refused > count / 4


@pytest.mark.parametrize("name", ["alpha", "dora_scale", "lora_mid.weight"])
def test_a_tensor_whose_name_lost_a_bit_is_not_left_out(name: str, write: Write, tiny: Family) -> None:
    damaged = name[:-1] + chr(ord(name[-1]) ^ 1)
    with pytest.raises(UserError, match=rf"is damaged: {TO_Q} has {damaged}, which is no part of locon"):
        read("network.weights", write(layer(**{damaged: torch.ones(1)})), tiny.facts)


def test_a_number_that_was_changed_after_the_file_was_written_is_said(
    tiny: Family, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.safetensors"
    with moved(tiny, options("locon")) as network:
        save(file, network.state_dict(), {}, torch.float16)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for key, word in (("network.weights", "{}"), ("model.base_weights", "[{}]")):
        (said,) = check(compose([*place_of(tiny_model, tmp_path), f"{key}={word.format(file)}"])).notices
        assert f"{key}={file}: its numbers are not those that its header has the hash of" in said


def test_a_header_that_leaves_bytes_out_or_names_them_twice_is_refused(write: Write, tiny: Family) -> None:
    """As safetensors' own reader does: a name that became another one's would leave its tensor out."""
    file, down, up = write(layer(alpha=torch.tensor(2.0))), f"{TO_Q}.lora_down.weight", f"{TO_Q}.lora_up.weight"
    length = int.from_bytes(file.read_bytes()[:8], "little")
    header, rest = json.loads(file.read_bytes()[8 : 8 + length]), file.read_bytes()[8 + length :]
    for changed in (
        {name: entry for name, entry in header.items() if not name.endswith("alpha")},
        header | {down: header[down] | {"data_offsets": header[up]["data_offsets"]}},
    ):
        text = json.dumps(changed).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + rest)
        with pytest.raises(
            UserError, match=r"is damaged: its header does not say what each of its bytes is|longer than"
        ):
            read("network.weights", file, tiny.facts)


@pytest.mark.parametrize(("precision", "count"), [("fp16", 1), ("bf16", 1), ("fp32", 0)])
def test_what_a_t_loras_file_loses_in_half_precision_is_said(
    precision: str, count: int, tiny_model: Path, tmp_path: Path
) -> None:
    words = [f"runs={tmp_path}", f"model.path={tiny_model}", "sample=none", "network=tlora"]
    said = check(compose([*words, f"train.save_precision={precision}"])).notices
    assert len([one for one in said if "loses 6 to 28 % of a small update" in one]) == count
