"""Words that a verb would not use are refused, and so is a file that could not be written at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.__main__ import main
from tests.commands.test_looking import runs as runs  # noqa: PLC0414  # a fixture


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command line is refused with."""
    capsys.readouterr()
    assert main([*words]) == 2, words
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1, said
    return said.err.strip()


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("rerun ranks/1 reuse=true", "reuse=true: has no effect on `rerun`, which always trains"),
        ("rerun ranks/1 ++reuse=false", "reuse=false: has no effect"),
        (
            "continue ranks/1 train.resume=x",
            "train.resume=x: `continue` sets it to the state of RUN",
        ),
        ("rerun ranks/1 +runs=here", "runs=+runs=here: give a folder, without a sign"),
        ("status runs=", "runs=: give a folder"),
        ("sync tracking=none", "tracking=none: has no effect on `sync`, which reads runs, tracking.uri"),
        ("sync tracking=mlflow", "tracking=mlflow: has no effect"),
        ("sync seed=3", "seed=3: has no effect on `sync`"),
        ("sync ranks +sweep=rank_alpha", "+sweep=rank_alpha: has no effect"),
        ("sync ~data", "~data=: has no effect"),
        ("sync tracking.workspace=false", "tracking.workspace=false: has no effect"),
        ("sync tracking.enabled=false", "tracking.enabled=false: has no effect on `sync`, which sends"),
        ("ui seed=3", "seed=3: has no effect on `ui`"),
        ("ui +sweep=rank_alpha", "+sweep=rank_alpha: has no effect"),
        ("ui tracking.workspace_cap_mib=3", "tracking.workspace_cap_mib=3: has no effect"),
        ("ui tracking=none", "tracking=none: has no record to show"),
        ("restore ranks/1 seed=1", "seed=1: has no effect on `restore`, which reads tracking.uri"),
        ("restore ranks/1 tracking=off", "tracking=off: has no effect"),
        ("restore ranks/1 there tracking.workspace=false", "tracking.workspace=false: has no effect"),
        ("restore ranks/1 +tracking.tensorboard=x", "+tracking.tensorboard=x: has no effect"),
        ("clean ranks seed=1", "seed=1: has no effect on `clean`"),
        ("clean ranks tracking=none", "tracking=none: has no effect"),
        ("clean tracking.uri=sqlite:///x.db", "tracking.uri=sqlite:///x.db: has no effect where no study is named"),
        ("data check pics seed=3 network.dim=4", "seed=3: has no effect on `data check`, which reads data, data.…"),
        ("data check pics network=lokr", "network=lokr: has no effect"),
        ("data check pics data.dir=other", "data.dir=other: has no effect beside pics"),
        ("data check pics --json --tags 5", "--tags=5: has no effect beside --json"),
        ("completion bash --words", "command line=completion: --words is the first word"),
        ("baseline show runs=runs", "runs=runs: has no effect on `baseline show`"),
        ("run --cfg --dry-run", "--dry-run=given: has no effect beside --cfg"),
        ("status seed=1", "no such run"),
        ("show ranks seed=1", "give one study or run"),
        ("list seed=1", "no such run"),
        ("report ranks seed=1", "give one study or run"),
        ("prefer ranks seed=1", "give one study or run"),
        ("which seed=1", "there is no such file"),
        ("diff ranks/1 seed=1", "no such run"),
    ],
)
def test_a_word_without_effect_is_refused_by_key_value_and_mend(
    words: str, named: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(tmp_path)
    assert named in refused(capsys, *words.split())
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "words", [("init", ""), ("init", " "), ("init", "+seed"), ("restore", "ranks/1", ""), ("restore", "")]
)
def test_a_folder_without_a_name_is_not_the_working_directory(
    words: tuple[str, ...], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(tmp_path)
    refused(capsys, *words)
    assert everything(tmp_path) == before


def test_a_folder_with_an_equals_sign_is_named_by_its_path(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "./lr=1e-4"]) == 0
    assert Path("lr=1e-4/sweeps/first.yaml").is_file()
    main(["restore", "ranks/1", "./seed=1"])
    assert Path("seed=1").is_dir()


@pytest.mark.parametrize("place", ["no/such/dir/x", "runs/ranks/study.json/x", "x" * 300])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(
    place: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(runs)
    for *words, option, ending in (
        ("rerun", "ranks/1", "--json", "json"),
        ("report", "ranks", "--out", "html"),
        ("data", "check", "--picture", "png"),
    ):
        assert refused(capsys, *words, option, f"{place}.{ending}").startswith(f"{option}=")
    assert everything(runs) == before


def test_only_words_that_are_needed_are_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("command line=show: the following arguments are required: RUN; see python -m sweeplora show")
