from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.training.previews.prompt import Prompt, parse_line
from sweeplora.training.previews.prompts import check_prompts, read_file, rounded_sizes


def _read(tmp_path: Path, name: str, text: str) -> list[Prompt]:
    path = tmp_path / name
    path.write_text(text)
    return read_file(path)


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
        ("p.json", "[1]", "prompt 1: 1 is no prompt; give a line, or an object"),
        ("p.json", "3", "expected a list of prompts"),
        ("p.json", "[" * 100_000, "cannot be parsed"),
        ("p.json", '{"prompt": {"subset": [1, 2]}}', "expected a list of prompts"),
        ("p.json", '{"prompt": {"width": 64}}', "expected a list of prompts"),
        ("p.json", '{"prompts": ["a cat"]}', "expected a list of prompts"),
        ("p.json", '[["a cat"]]', "prompt 1: ['a cat'] is no prompt"),
        ("p.json", '[{"prompt": "a cat", "width": true}]', "prompt 1: width True"),
        ("p.json", '[{"prompt": "a cat", "scale": 1e999}]', "prompt 1: guidance inf"),
        ("p.json", '[{"prompt": "a cat --w 640"}]', 'prompt 1: "--w" would be part of the text'),
        ("p.toml", "[[prompt]]\nwidth = 64", "expected a list of prompts"),
        ("p.toml", '[prompt]\nsubset = "a cat"', "expected a list of prompts"),
        ("p.txt", "a cat --l inf", "line 1: guidance 'inf'"),
        ("p.txt", "a cat --l nan", "line 1: guidance 'nan'"),
        ("p.txt", "a cat --d 18446744073709551616", "line 1: seed '18446744073709551616'"),
        ("p.txt", "a cat --w 1000000000", "line 1: width '1000000000'"),
        ("p.txt", "a cat --w 64 --w 96", "line 1: says --w twice"),
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


@pytest.mark.parametrize(
    "line",
    [
        "a girl -w 640", "a girl -n blurry", "a girl -w=640", "a girl ---w 640", "a girl \N{EM DASH}w 640",
        "a girl \N{EN DASH}\N{EN DASH}w 640", "a girl \N{MINUS SIGN}\N{MINUS SIGN}s 3", "a girl--w 512",
        "a girl--n blurry --s 3", "a girl\N{EM DASH}w 512", "a girl -- w 512", "a girl --w 64 -h 96",
        "a girl --n blurry -w 640", "a girl - w 640", "a girl -W 640", "a girl \N{EM DASH}ss ddim",
        "a girl -w640", "-w 640",
    ],
)  # fmt: skip
def test_what_only_looks_like_an_option_is_refused_and_never_drawn_as_text(line: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_line(line, "line 1")
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "a T-shirt, x-ray, 5--6 o'clock", "a cat \N{EM DASH} sleeping", "a cat -- sleeping, 3 - 4 of them",
        "a Model-S 3, vitamin-d 3", "rain -sad mood", "-1 degrees", "a well-lit room\N{EM DASH}warm",
    ],
)  # fmt: skip
def test_dashes_of_ordinary_text_stay_text(line: str) -> None:
    assert parse_line(line, "here") == Prompt(line)


def test_a_tab_separates_an_option_from_its_value_too() -> None:
    assert parse_line("a cat\t--w\t64", "here") == Prompt("a cat", width=64)


def test_sides_that_the_model_cannot_draw_are_said() -> None:
    prompts = [Prompt("a cat", width=100), Prompt("a dog", width=96, height=9), Prompt("an owl")]
    (said,) = rounded_sizes(prompts, 32)
    assert "prompt 1 at width 96 instead of 100, prompt 2 at height 32 instead of 9" in said
    assert rounded_sizes(prompts[2:], 32) == []


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not readable: there is no such file"):
        read_file(tmp_path / "none.txt")


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
