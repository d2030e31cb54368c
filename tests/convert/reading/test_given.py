"""Words and files as sd-scripts' parser reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.convert.reading.given import read
from sweeplora.errors import UserError


def _read(*words: str, family: str = "sdxl") -> dict[str, object]:
    return dict(read(family, 1, words).values)


def test_both_ways_to_write_a_value_and_lists_of_words() -> None:
    words = ("--seed=3", "--learning_rate", "1e-4", "--network_args", "a=1", "b=2", "--flip_aug", "--unet_lr", "-1")
    assert _read(*words) == {
        "seed": 3,
        "learning_rate": 1e-4,
        "network_args": ["a=1", "b=2"],
        "flip_aug": True,
        "unet_lr": -1.0,
    }


def test_the_beginning_of_one_flag_stands_for_it_and_is_said() -> None:
    given = read("sdxl", 1, ["--train_b=2"])
    assert given["train_batch_size"] == 2
    assert given.remarks[0].note == "short for --train_batch_size"
    with pytest.raises(UserError, match="could be --network_dim"):
        _read("--network_d=2")


@pytest.mark.parametrize(("text", "steps"), [("100", 100), ("0.1", 0.1), ("10%", 0.1), ("1", 1), ("0", 0)])
def test_steps_are_a_count_or_a_share(text: str, steps: float) -> None:
    assert _read(f"--lr_warmup_steps={text}")["lr_warmup_steps"] == steps


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed=a"], "--seed=a: sd-scripts takes a whole number"),
        (["--learning_rate=fast"], "takes a number"),
        (["--loss_type=l3"], "one of l1, l2, huber, smooth_l1"),
        (["--seed"], "needs a value"),
        (["--flip_aug=true"], "takes no value"),
        (["--max_token_length=75"], "one of 150, 225"),
    ],
)
def test_what_the_parser_refuses_is_refused_by_name(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _read(*words)


def test_a_flag_the_reference_does_not_have_is_named_with_the_nearest() -> None:
    given = read("sdxl", 1, ["--lerning_rate=1e-4", "--seed=1", "stray"])
    unknown = [entry for entry in given.remarks if entry.fate == "unknown"]
    assert [entry.flag for entry in unknown] == ["--lerning_rate", "stray"]
    assert "learning_rate" in unknown[0].note
    assert given.values == {"seed": 1}


def test_a_flag_given_twice_counts_as_the_last_and_is_said() -> None:
    given = read("sdxl", 1, ["--seed=1", "--seed=2"])
    assert given["seed"] == 2
    assert any("given twice" in entry.note for entry in given.remarks)


def test_a_file_of_flags_is_flattened_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "flags.toml"
    file.write_text(
        'seed = 3\n[network]\nnetwork_args = ["algo=lokr"]\nnetwork_dim = 8\nunheard_of = 1\n'
        "[rates]\nlearning_rate = 1e-4\nlr_warmup_steps = 0.1\nflip_aug = true\ncolor_aug = false\n"
    )
    given = read("sdxl", 1, [f"--config_file={tmp_path / 'flags'}", "--network_dim=16"])
    assert (given["seed"], given["network_dim"], given["network_args"]) == (3, 16, ["algo=lokr"])
    assert (given["learning_rate"], given["lr_warmup_steps"], given["flip_aug"]) == (1e-4, 0.1, True)
    assert "color_aug" not in given
    assert [entry.flag for entry in given.remarks if entry.fate == "unknown"] == ["--unheard_of"]


def test_a_file_may_hold_what_its_gui_writes_beside_the_choices(tmp_path: Path) -> None:
    file = tmp_path / "gui.toml"
    file.write_text('dynamo_backend = "no"\nmax_token_length = 75\nlr_scheduler_args = []\nseed = ""\n')
    values = _read(f"--config_file={file}")
    assert (values["dynamo_backend"], values["max_token_length"]) == ("no", 75)
    file.write_text('loss_type = "l3"\n')
    with pytest.raises(UserError, match="one of l1, l2"):
        _read(f"--config_file={file}")


def test_no_words_and_an_empty_text_are_as_if_the_flag_were_not_there_and_is_said() -> None:
    given = read("sdxl", 1, ["--vae=", "--reg_data_dir", "", "--lr_scheduler_args", "--seed=1"])
    assert given.values == {"seed": 1}
    assert [entry.flag for entry in given.remarks] == ["--lr_scheduler_args", "--reg_data_dir", "--vae"]


def test_a_file_that_is_not_there_or_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        _read(f"--config_file={tmp_path / 'a.toml'}")
    (tmp_path / "b.toml").write_text("= 3")
    with pytest.raises(UserError, match="not TOML"):
        _read(f"--config_file={tmp_path / 'b.toml'}")


def test_the_old_spelling_of_an_extension_still_counts() -> None:
    assert _read("--caption_extention=.txt") == {"caption_extension": ".txt"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vae = false", "--vae=false: is to be text in quotes, or left out"),
        ("output_name = true", "--output_name=true"),
        ("learning_rate = [1e-4]", "--learning_rate"),
        ("network_dim = true", "is to be a number"),
        ("resolution = [512, 512]", "--resolution"),
        ("max_token_length = 300", "one of 150, 225"),
        ("noise_offset = inf", "not a finite number"),
        ("flip_aug = 1", "write true or false"),
    ],
)
def test_a_value_of_another_type_in_a_file_is_refused_by_name(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "f.toml").write_text(f"{line}\n")
    with pytest.raises(UserError, match=said):
        _read(f"--config_file={tmp_path / 'f.toml'}")


def test_false_for_resume_is_nothing_and_a_guis_token_length_is_three_chunks(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("resume = false\nmax_token_length = 255\n")
    values = _read(f"--config_file={tmp_path / 'f.toml'}")
    assert "resume" not in values
    assert values["max_token_length"] == 225


@pytest.mark.parametrize("dash", ["\u2013", "\u2014", "\u2212", "\u2010", "\u2013\u2013"])
def test_a_dash_that_is_no_hyphen_is_called_so(dash: str) -> None:
    with pytest.raises(UserError, match=r"instead of two hyphens; write --seed=3"):
        _read("--network_args", "algo=locon", f"{dash}seed=3")
