"""Prompts of previews before a training: a file's, a list's, or the data's own captions; notices; the signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeplora.check.configuration import check
from sweeplora.check.images import note_dataset
from sweeplora.check.model import note_model
from sweeplora.check.previews import note_previews
from sweeplora.check.shape import frozen
from sweeplora.config.compose import compose
from sweeplora.data.dataset import Dataset
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Experiment
from sweeplora.training.previews.prompt import Prompt
from tests.check.pictures import six_pictures

Checked = Callable[..., Experiment]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return six_pictures(tmp_path / "pictures")


@pytest.fixture
def base(pictures: Path, tiny_model: Path, tmp_path: Path) -> list[str]:
    return [
        "data=folder", f"data.dir={pictures}", "data.val_split=0.34", f"model.path={tiny_model}",
        f"runs={tmp_path / 'runs'}", "launcher.device=cpu",
    ]  # fmt: skip


@pytest.fixture
def checked(base: list[str]) -> Checked:
    return lambda *overrides: check(compose([*base, *overrides]))


def _looked_at(words: list[str]) -> tuple[Dataset, list[Prompt]]:
    config = frozen(compose(words).config)
    problems = Problems()
    model = note_model(config, problems)
    dataset = note_dataset(config, model, problems)
    prompts = note_previews(config["sample"], model, dataset, problems)
    problems.refuse()
    assert dataset is not None and prompts is not None
    return dataset, prompts


def _prompts(words: list[str]) -> list[Prompt]:
    return _looked_at(words)[1]


def test_without_prompts_captions_of_the_data_are_drawn_held_out_ones_first(base: list[str]) -> None:
    dataset, prompts = _looked_at(base)
    held_out = {one.caption for one in dataset.validation}
    assert len(prompts) == 4 and len(held_out) == 2
    assert {one.prompt for one in prompts[:2]} == held_out
    assert all(one.prompt.startswith("picture ") for one in prompts)
    assert prompts == _prompts([*base, "seed=5"])


def test_brackets_of_a_caption_stay_text_in_its_preview(base: list[str], pictures: Path) -> None:
    for file in pictures.glob("*.txt"):
        file.write_text("miku (vocaloid) [x]")
    assert _prompts(base) == [Prompt(r"miku \(vocaloid\) \[x\]")]
    assert _prompts([*base, "data.weighted_captions=true"]) == [Prompt("miku (vocaloid) [x]")]
    assert _prompts([*base, "sample.weighted=false"]) == [Prompt("miku (vocaloid) [x]")]


def test_prompts_may_be_a_list(base: list[str]) -> None:
    words = [*base, "sample.prompts=[a cat --w 64,{prompt: a dog,seed: 3}]"]
    assert _prompts(words) == [Prompt("a cat", width=64), Prompt("a dog", seed=3)]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [("[]", "holds no prompt"), ("[a cat -w 640]", "prompt 1"), ("[3]", "sample.prompts"), ("a cat", "or give a list")],
)
def test_a_bad_list_is_refused(checked: Checked, prompts: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(f"sample.prompts={prompts}")
    assert said in str(caught.value) and str(caught.value).startswith("sample.prompts=")


def test_the_signature_follows_the_prompts_wherever_they_come_from(
    checked: Checked, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    given = ["sample.prompts=null", f"sample.prompts={tmp_path / 'p.txt'}", "sample.prompts=[a cat]"]
    signatures = [checked(words).signature for words in given]
    assert len(set(signatures)) == 3
    (tmp_path / "p.txt").write_text("a dog\n")
    assert checked(given[1]).signature != signatures[1]
    assert checked("sample.prompts=[a dog]").signature != signatures[2]
    assert checked("sample.prompts=[a cat]").signature == signatures[2]
    (pictures / "0.txt").write_text("another picture")
    assert checked(given[0]).signature != signatures[0]


def test_a_side_that_is_rounded_and_a_warm_up_without_end_are_said(checked: Checked) -> None:
    notices = checked("sample.prompts=[a cat --w 70]", "scheduler.warmup=5000").notices
    assert any("prompt 1 at width 64 instead of 70" in one for one in notices)
    assert any("scheduler.warmup=5000 is not over" in one for one in notices)
    assert not any("multiples of" in one or "warmup" in one for one in checked("sample.prompts=[a cat --w 64]").notices)
