from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.training.previews.prompts import Prompt, check_prompts, idle, parse_line, read_prompts


def _read(tmp_path: Path, name: str, text: str) -> list[Prompt]:
    path = tmp_path / name
    path.write_text(text)
    return read_prompts(path)


def test_every_option_of_a_line_reaches_its_field() -> None:
    line = "a cat, sitting --n blurry, dog --w 64 --h 96 --d 7 --s 12 --l 4.5 --ss k_euler_a"
    assert parse_line(line, "here") == Prompt(
        "a cat, sitting",
        "blurry, dog",
        width=64,
        height=96,
        seed=7,
        steps=12,
        guidance=4.5,
        sampler="k_euler_a",
    )


def test_what_a_line_does_not_say_is_left_to_the_settings() -> None:
    assert parse_line("a cat", "here") == Prompt("a cat", "", None, None, None, None, None, None)


def test_dashes_inside_a_prompt_are_no_options() -> None:
    assert parse_line("a half-open door -- at 5--6 o'clock", "here").prompt == "a half-open door -- at 5--6 o'clock"


def test_an_empty_negative_and_an_empty_prompt_are_allowed() -> None:
    assert parse_line("--n --s 3", "here") == Prompt("", "", steps=3)


def test_comments_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    prompts = _read(tmp_path, "p.txt", "# a comment\n\n  # another\na cat\n\na dog # not a comment\n")
    assert [prompt.prompt for prompt in prompts] == ["a cat", "a dog # not a comment"]


def test_options_are_read_in_capitals_too() -> None:
    assert parse_line("a cat --W 64 --SS ddim", "here") == Prompt("a cat", width=64, sampler="ddim")


def test_json_may_hold_lines(tmp_path: Path) -> None:
    lines = json.dumps(["a cat --w 64", {"prompt": "a dog"}])
    assert _read(tmp_path, "p.json", lines) == [Prompt("a cat", width=64), Prompt("a dog")]


def test_toml_and_json_say_the_same_as_lines(tmp_path: Path) -> None:
    toml = '[prompt]\nwidth = 64\nscale = 4\n[[prompt.subset]]\nprompt = "a cat"\nsample_steps = 3\n'
    as_json = json.dumps([{"prompt": "a cat", "width": 64, "guidance": 4.0, "steps": 3}])
    expected = [parse_line("a cat --w 64 --l 4 --s 3", "here")]
    assert _read(tmp_path, "p.toml", toml) == expected
    assert _read(tmp_path, "p.json", as_json) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.txt", "a cat\na dog --w wide", "line 2: width 'wide'"),
        ("p.txt", "a cat --w 0", "line 1: width '0'"),
        ("p.txt", "a cat --l -1", "line 1: guidance '-1'"),
        ("p.txt", "a cat --ss plms", "line 1: sampler 'plms'"),
        ("p.txt", "a cat --x 3", "no option --x; there are --n, --w"),
        ("p.txt", "# nothing\n", "holds no prompt"),
        ("p.yaml", "a cat", "come as .txt, .toml or .json"),
        ("p.json", "[", "cannot be parsed"),
        ("p.json", "[1]", "expected a list of prompts"),
        ("p.json", '["a cat --w 0"]', "prompt 1: width '0'"),
        ("p.txt", "a cat --s 1001", "line 1: steps '1001'"),
        ("p.txt", "a cat --g 3.5", "--g is an embedded guidance, which neither SDXL nor SD 1.5 has"),
        ("p.txt", "a cat --cn pose.png", "--cn is a ControlNet's image"),
        ("p.txt", "a cat --ctr 0.5", "--ctr is Lumina's"),
        ("p.txt", "a cat --rcfg 1", "--rcfg is Lumina's"),
        ("p.txt", "a cat --fs 3", "--fs is a flow model's shift"),
        ("p.json", '[{"prompt": "a cat", "controlnet_image": "x"}]', "controlnet_image is a ControlNet's image"),
        ("p.json", '[{"prompt": "a cat", "color": 1}]', "prompt 1: no option color"),
        ("p.json", '[{"width": 64}]', "prompt"),
        ("p.toml", 'prompt = "a cat"', "[[prompt.subset]]"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path, name, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("sample.prompts=")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not readable: there is no such file"):
        read_prompts(tmp_path / "none.txt")


def test_a_prompt_whose_sampler_does_not_go_with_the_settings_is_refused() -> None:
    check_prompts([Prompt("a cat"), Prompt("a dog", sampler="ddim")], "euler_a", 20, False)
    with pytest.raises(UserError, match=r'sample\.karras=True: the prompt "a dog" asks for it: sampler ddim'):
        check_prompts([Prompt("a cat"), Prompt("a dog", sampler="ddim")], "euler", 20, True)
    with pytest.raises(UserError, match=r'sample\.steps=3: the prompt "a cat" asks for it: sampler pndm needs'):
        check_prompts([Prompt("a cat", steps=3)], "pndm", 20, False)


def test_what_cannot_start_from_pure_noise_is_refused_on_a_model_of_zero_terminal_snr() -> None:
    check_prompts([Prompt("a cat", sampler="heun", steps=30), Prompt("a dog")], "euler_a", 20, False, True)
    check_prompts([Prompt("a cat", sampler="heun")], "euler", 20, True)
    with pytest.raises(UserError, match=r'sample\.steps=20: the prompt "a cat" asks for it: sampler heun needs .* 30'):
        check_prompts([Prompt("a cat", sampler="heun")], "euler_a", 20, False, True)
    with pytest.raises(UserError, match=r"sample\.karras=True: a model of zero terminal SNR"):
        check_prompts([Prompt("a cat")], "euler", 20, True, True)


@pytest.mark.parametrize(("prompts", "processes", "waiting"), [(5, 4, 3), (1, 2, 1), (7, 3, 2)])
def test_a_remainder_that_idles_processes_is_said(prompts: int, processes: int, waiting: int) -> None:
    said = idle(prompts, processes)
    assert said is not None and f"{prompts} sample prompts over {processes} processes: {waiting} of them wait" in said
    assert f"{prompts + waiting} prompts would take no longer" in said


@pytest.mark.parametrize(("prompts", "processes"), [(4, 4), (6, 3), (5, 1), (0, 2)])
def test_prompts_that_share_out_evenly_are_not_worth_a_line(prompts: int, processes: int) -> None:
    assert idle(prompts, processes) is None
