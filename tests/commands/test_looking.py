"""list, show and which: what they tell of a store, from folders alone."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.report.curve import curve
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Attempt, StudyRecord, TrialRecord, write_study, write_trial
from tests.report.test_find import SIGNATURES, a_run, weights


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of three trials with a file an epoch, the second trial the best; a single run that was interrupted."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    (folder / "ranks").mkdir(parents=True)
    write_study(folder / "ranks", StudyRecord("ranks", "val/loss", 1.0, "finished", trials=3))
    for number, (signature, value) in enumerate(zip(SIGNATURES, (0.3, 0.1, 0.2), strict=True)):
        params = {"network.dim": 4 + 4 * (number % 2), "optimizer.lr": 0.001}
        record = TrialRecord(
            "complete", "ranks", number, signature, params=params, value=value, attempts=[Attempt(10.0, ended=75.0)]
        )
        run = a_run(folder / "ranks" / f"{number:03}-{signature}", record)
        writer = MetricsWriter(run.metrics)
        for epoch in range(4):
            writer.write(5 * epoch, {"loss": 1.0, "val/loss": value + (3 - epoch) / 10})
        weights(
            run.weights / "toy-000001.safetensors",
            f"{signature} 1".encode(),
            sweeplora__signature=signature,
            ss_epoch="1",
            ss_steps="5",
            ss_num_epochs="3",
            ss_sd_model_name="emoji",
            ss_new_sd_model_hash="0123456789abcdef",
            sshs_model_hash=_tensors_hash(f"{signature} 1".encode()),
        )
    a_run(folder / "single" / "cats", TrialRecord("running", signature="dddddddddddd"))
    return folder


def _tensors_hash(tensors: bytes) -> str:
    return hashlib.sha256(tensors).hexdigest()


def _said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main([*words]) == code
    return capsys.readouterr().out


def test_list_shows_studies_single_runs_and_the_trials_of_a_study(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _said(capsys, "list").splitlines()
    assert said[1].split()[:6] == ["ranks", "finished", "3", "complete", "0.1", "(trial"]
    assert said[4].split()[:2] == ["cats", "interrupted"]  # it says running, and nothing supervises it
    trials = _said(capsys, "list", "ranks").splitlines()
    assert trials[0].split() == ["trial", "state", "val/loss", "dim", "lr", "time", "size", "signature"]
    assert trials[2].split()[:6] == ["1", "complete", "0.1", "8", "0.001", "1:05"]


def test_list_as_json_has_sizes_in_bytes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(_said(capsys, "list", "--json"))
    size = sum(path.stat().st_size for path in (runs / "ranks").rglob("*") if path.is_file())
    assert told["studies"][0]["size"] == size
    assert told["studies"][0]["best"] == {"trial": 1, "values": [0.1]}
    assert [run["state"] for run in told["runs"]] == ["interrupted"]


def test_a_damaged_record_is_listed_as_such(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDir(runs / "single/cats").trial.write_text('{"verdict": ')
    assert "damaged" in _said(capsys, "list")
    assert "damaged" in _said(capsys, "show", "cats")


@pytest.mark.parametrize(
    "words", [("list", "ranks", "--json"), ("show", "ranks/1"), ("show", "ranks"), ("report", "ranks")]
)
def test_lines_that_no_reader_can_use_are_named_once(
    words: tuple[str, ...], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another shape, or with a byte changed in the middle; a torn last line is being written."""
    (folder,) = (runs / "ranks").glob("001-*")
    metrics, scores = RunDir(folder).metrics, RunDir(folder).scores
    first, second, *rest = metrics.read_bytes().splitlines(keepends=True)
    foreign, torn = b'{"epoch": 3}\n', b'{"step": 99, "ti'
    metrics.write_bytes(b"".join([first, foreign, second.replace(b"{", b"[", 1), *rest, torn]))
    scores.write_text('{"triples": ["a", "b"]}\n{"base": [0.5, 0.25]}\n{"step": 1, "losses": [0.5]}\n')
    assert main([*words]) == 0
    told = capsys.readouterr()
    near = f"runs/ranks/{folder.name}"
    assert told.err.splitlines() == [
        f"{near}/metrics.jsonl: lines 2, 3 are not what a training writes, and passed over",
        f"{near}/scores.jsonl: line 3 is not what a training writes, and passed over",
    ]
    if "--json" in words:
        json.loads(told.out)


def test_show_draws_the_course_within_80_columns(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(capsys, "show", "ranks/2")
    assert "network.dim=4; siblings: 8 (1x)" in said
    assert "rank        2 of 3" in said
    drawing = said[said.index("val/loss, last 0.2") :].splitlines()
    assert max(map(len, drawing)) <= 80
    assert sum(line.count("*") for line in drawing) == 4
    assert drawing[1].strip().startswith("0.5 |*") and drawing[12].rstrip().endswith("*")
    assert "loss, last 1" in _said(capsys, "show", "ranks/2", "--metric", "loss")
    assert main(["show", "ranks/2", "--metric", "los"]) == 2
    assert "this run has: loss, val/loss" in capsys.readouterr().err


def test_show_of_a_study_has_its_leaderboard(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(capsys, "show", "ranks")
    assert "3 complete, 3 planned" in said and "trial 1, the best:" in said
    assert f"best file  runs/ranks/001-{SIGNATURES[1]}/weights/" in said
    assert said.index("0.1 ") < said.index("0.2 ") < said.index("0.3 ")


@pytest.mark.parametrize("points", [{}, {3: 1.0}, {0: 1.0, 1: 1.0}, {0: float("nan"), 4: 2.0}, {0: -1e-9, 99999: 1e9}])
def test_any_course_can_be_drawn(points: dict[int, float]) -> None:
    assert max(map(len, curve(points, "val/loss"))) <= 80


def test_a_course_that_explodes_keeps_its_beginning_readable(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs / f"ranks/002-{SIGNATURES[2]}"
    values = [*(0.5 - step / 100 for step in range(8)), 900.0, 1e7, float("nan")]
    writer = MetricsWriter(run / "metrics.jsonl")
    for step, value in enumerate(values, 20):
        writer.write(step, {"val/loss": value})
    said = _said(capsys, "show", "ranks/2")
    drawing = said[said.index("val/loss, last nan") :].splitlines()
    assert float(drawing[1].partition("|")[0]) == 0.5 and drawing[1].count("^") == 2 and drawing[1].count("!") == 1
    assert drawing[-1].strip() == "^ 2 above 0.5, up to 1e+07; ! 1 not finite"
    assert sum("*" in line for line in drawing) > 4 and max(map(len, drawing)) <= 80


def test_which_finds_renamed_files_of_every_epoch(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, signature in enumerate(SIGNATURES):
        for name in ("toy", "toy-000001"):
            copy = tmp_path / f"{signature[:2]}{name[-1]}.safetensors"
            shutil.copy(runs / f"ranks/{number:03}-{signature}/weights/{name}.safetensors", copy)
            told = json.loads(_said(capsys, "which", str(copy), "--json"))[0]
            assert (told["found_by"], told["study"], told["trial"]) == ("content", "ranks", number)
            assert told["signature"] == signature
            assert told["same_as"].endswith(f"{name}.safetensors")
    assert told["val/loss"] == pytest.approx(0.2 + 0.2)  # of its own epoch, not of the last one
    assert told["epoch"] == "1 of 3" and told["swept"] == {"network.dim": 4, "optimizer.lr": 0.001}
    assert told["base_model"].startswith("emoji (sha256 0123456789ab")
    assert told["differs"] == ["network.dim=4; siblings: 8 (1x)"]


def test_which_knows_a_file_whose_metadata_was_rewritten_by_its_tensors(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = weights(tmp_path / "edited.safetensors", f"{SIGNATURES[1]} 1".encode(), comment="mine")
    told = json.loads(_said(capsys, "which", str(edited), "--json"))[0]
    assert (told["found_by"], told["trial"]) == ("tensors", 1)


def test_which_knows_a_file_that_the_run_deleted_by_its_signature(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = runs / f"ranks/001-{SIGNATURES[1]}/weights/toy-000001.safetensors"
    moved = Path(shutil.move(file, tmp_path / "kept.safetensors"))
    told = json.loads(_said(capsys, "which", str(moved), "--json"))[0]
    assert (told["found_by"], told["trial"]) == ("signature", 1)


def test_a_run_that_is_given_by_a_path_needs_no_folder_of_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = f"001-{SIGNATURES[1]}"
    study = Path(shutil.copytree(runs / "ranks", tmp_path / "on a disk/ranks"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert f"folder      {study / trial}" in _said(capsys, "show", str(study / trial))
    assert len(_said(capsys, "list", str(study)).splitlines()) == 4
    told = json.loads(_said(capsys, "which", str(study / trial / "weights/toy-000001.safetensors"), "--json"))[0]
    assert (told["found_by"], told["run"], told["trial"]) == ("content", str(study / trial), 1)
    assert main(["show", str(study), "runs=nowhere"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err


def test_which_finds_the_run_of_a_preview_by_its_content(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, signature in enumerate(SIGNATURES):
        picture = runs / f"ranks/{number:03}-{signature}/samples/00000010_01.png"
        picture.parent.mkdir()
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + signature.encode())
    copied = Path(shutil.copy(picture, tmp_path / "nice one"))
    told = json.loads(_said(capsys, "which", str(copied), "--json"))[0]
    assert (told["found_by"], told["trial"], told["step"]) == ("content", 2, "10")
    assert told["val/loss"] == pytest.approx(0.3) and told["same_as"].endswith("samples/00000010_01.png")
    copied.write_bytes(copied.read_bytes()[:-1] + b"!")
    assert "no folder here knows it" in _said(capsys, "which", str(copied), code=1)


def test_a_repetition_is_called_one_and_has_no_rank_among_the_trials(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = TrialRecord("complete", "ranks", 1, "eeeeeeeeeeee", params={"network.dim": 8}, value=0.1, replicate=2)
    again = a_run(runs / "ranks/001.2-eeeeeeeeeeee", record)
    told = json.loads(_said(capsys, "which", str(again.weights / "toy.safetensors"), "--json"))[0]
    assert (told["name"], told["trial"], told["repetition"]) == ("ranks/1.2", 1, 2)
    assert "rank" not in told
    assert "run         ranks/1.2" in _said(capsys, "show", "ranks/1.2").splitlines()
    assert [line.split()[0] for line in _said(capsys, "list", "ranks").splitlines()[1:]] == ["0", "1", "1.2", "2"]


def test_of_several_objectives_only_what_is_better_in_all_comes_before(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(runs / "ranks", StudyRecord("ranks", ["val/loss", "weights/bytes"], 1.0, "finished", trials=3))
    for number, values in enumerate(([0.3, 1.0], [0.1, 3.0], [0.35, 2.0])):
        run = RunDir(runs / f"ranks/{number:03}-{SIGNATURES[number]}")
        record = TrialRecord("complete", "ranks", number, SIGNATURES[number], params={"a": number}, value=values)
        write_trial(run, record)
    ranks = [json.loads(_said(capsys, "show", f"ranks/{number}", "--json"))["rank"] for number in range(3)]
    assert ranks == [[1, 3], [1, 3], [2, 3]]


def test_which_tells_what_a_file_of_sd_scripts_says(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = weights(
        tmp_path / "kohya.safetensors",
        b"other",
        ss_output_name="cats_v1",
        ss_network_module="networks.lora",
        ss_network_dim="16",
        ss_network_alpha="8",
        ss_unet_lr="0.0001",
        ss_epoch="2",
        ss_num_epochs="10",
        ss_sd_model_name="sdxl.safetensors",
        ss_new_sd_model_hash="31e35c80fc4829d14f90153f4c74cd59",
        ss_dataset_dirs='{"3_cat": {"n_repeats": 3, "img_count": 12}}',
        ss_sd_scripts_commit_hash="(unknown)",
    )
    said = _said(capsys, "which", str(file), code=1)
    for line in (
        "found by    its metadata alone",
        "written by  sd-scripts",
        "networks.lora dim 16 alpha 8",
        "epoch       2 of 10",
        "3_cat (12 images x 3)",
        "base model  sdxl.safetensors (hash 31e35c80fc48…)",
    ):
        assert line in said


def test_which_tells_what_a_configuration_of_data_sets_leaves_in_a_file_of_sd_scripts(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [{"resolution": size, "batch_size_per_device": 2} for size in ([512, 768], [1024, 1024])]
    file = weights(
        tmp_path / "kohya.safetensors",
        b"other",
        ss_network_module="networks.lora",
        ss_datasets=json.dumps(sets),
        ss_tag_frequency='{"3_cat": {" sks cat": 12, "sitting": 3}, "4_dog": {"sitting": 2}}',
        ss_training_started_at="1700000000.25",
    )
    told = json.loads(_said(capsys, "which", str(file), "--json", code=1))[0]
    assert (told["resolution"], told["batch_size"]) == ("(512, 768), (1024, 1024)", "2")
    assert told["tags"] == "sks cat (12), sitting (5)"
    assert re.fullmatch(r"2023-11-1\d \d\d:\d\d", told["started"])


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", "{", '{"a": 1}', '[{"resolution": 1}]', '{"a": {"b": "c"}}', "inf"]
)
def test_values_of_another_shape_are_left_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    keys = ("ss_datasets", "ss_tag_frequency", "ss_dataset_dirs", "ss_training_started_at", "ss_steps", "ss_epoch")
    file = weights(tmp_path / "odd.safetensors", b"other", **dict.fromkeys(keys, text), ss_seed="7")
    told = json.loads(_said(capsys, "which", str(file), "--json", code=1))[0]
    assert told["seed"] == "7" and not {"tags", "data", "batch_size"} & set(told)
    assert "seed" in _said(capsys, "which", str(file), code=1)


def test_which_answers_for_files_without_metadata_and_refuses_missing_ones(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\x80\x02 a pickle")
    assert "no folder here knows it" in _said(capsys, "which", "odd.bin", code=1)
    shutil.copy("odd.bin", runs / "single/cats/weights/toy.ckpt")
    assert "cats" in _said(capsys, "which", "odd.bin")
    assert main(["which", "nothing.safetensors"]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert main(["which", "odd.bin", "runs=elsewhere"]) == 1  # no store here: the file alone speaks


@pytest.mark.parametrize("name", ["toy-000001", "toy-step00000007", "toy"])
def test_a_file_without_metadata_has_the_val_loss_of_the_step_in_its_name(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs / f"ranks/001-{SIGNATURES[1]}"
    writer = MetricsWriter(folder / "metrics.jsonl")
    for step in range(1, 16):
        writer.write(step, {"epoch": (step + 4) // 5})
    writer.close()
    file = folder / f"weights/{name}.ckpt"
    file.write_bytes(f"a pickle of {name}".encode())
    (told,) = json.loads(_said(capsys, "which", str(shutil.copy(file, tmp_path / "renamed.ckpt")), "--json"))
    expected: dict[str, tuple[str, str, float]] = {
        "toy-000001": ("1", "5", 0.1 + 0.2),
        "toy-step00000007": ("2", "7", 0.1 + 0.2),  # not validated there: that of step 5, and it is said
        "toy": ("3", "15", 0.1),
    }
    assert (told["epoch"], told["step"], told["val/loss"]) == (*expected[name][:2], pytest.approx(expected[name][2]))
    assert told.get("val/loss_at_step") == (5 if "step" in name else None)


def test_a_file_whose_metadata_was_taken_off_or_changed_has_its_twins(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = f"{SIGNATURES[1]} 1".encode()
    for number, metadata in enumerate(({}, {"ss_steps": "15", "ss_epoch": "3", "ss_comment": "mine"})):
        file = weights(tmp_path / f"{number}.safetensors", content, **metadata)
        (told,) = json.loads(_said(capsys, "which", str(file), "--json"))
        assert (told["found_by"], told["epoch"], told["step"]) == ("tensors", "1 of 3", "5")
        assert told["val/loss"] == pytest.approx(0.1 + 0.2) and told["base_model"].startswith("emoji (sha256 0123")


def test_a_file_of_an_unknown_step_has_no_val_loss(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = weights(tmp_path / "merged.safetensors", b"other", sweeplora__signature=SIGNATURES[1])
    (told,) = json.loads(_said(capsys, "which", str(file), "--json"))
    assert (told["found_by"], told["trial"]) == ("signature", 1)
    assert not {"epoch", "step", "val/loss"} & told.keys()


def test_a_file_that_was_cut_short_or_changed_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (runs / f"ranks/001-{SIGNATURES[1]}/weights/toy-000001.safetensors").read_bytes()
    for name, content, words in (
        ("short", whole[:-10], f"it is truncated: 10 of its {len(whole)} bytes are missing"),
        ("renamed", whole[:60], "it is truncated: it ends within its header, where its metadata is"),
        ("torn.safetensors", whole[:5], "it is truncated: it ends before its header"),
        ("empty", b"", "it is empty"),
        ("flipped", whole[:-1] + b"!", "it is not as it was written: its tensors do not have the hash"),
    ):
        (tmp_path / name).write_bytes(content)
        said = _said(capsys, "which", str(tmp_path / name), code=1)
        assert re.search(f"^damage +{words}", said, re.MULTILINE) and "no metadata" not in said
        assert ("trial       1" in said) == (name in ("short", "flipped"))  # the signature is still in it


def test_numbers_that_are_none_are_text_in_every_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(runs / "ranks/003-eeeeeeeeeeee", TrialRecord("diverged", "ranks", 3, "e" * 12, value=math.nan))
    writer = MetricsWriter(run.metrics)
    for epoch, loss in enumerate((0.5, math.inf, math.nan)):
        writer.write(5 * epoch, {"loss": loss, "val/loss": loss})
    file = weights(run.weights / "toy.safetensors", b"nan", sweeplora__signature="e" * 12, ss_steps="10")
    shutil.copytree(run.path, runs / "single/odd")
    for code, *words in (
        (0, "show", "ranks/3"),
        (0, "show", "ranks"),
        (0, "show", "ranks/3", "--metric", "loss"),
        (0, "list"),
        (0, "list", "ranks"),
        (0, "status", "ranks"),
        (0, "status", "ranks/3"),
        (0, "which", str(file)),
        (1, "diff", "ranks/0", "ranks/3"),
        (0, "clean", "ranks"),
    ):
        said = _said(capsys, *words, "--json", code=code)
        json.loads(said, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        if words[:2] == ["show", "ranks/3"]:
            assert '"nan"' in said and '"inf"' in said


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        *(("list", LONG), ("show", LONG), ("status", LONG), ("report", LONG), ("sync", LONG), ("clean", LONG)),
        *(("which", LONG), ("diff", LONG, "ranks/1"), ("rerun", LONG), ("restore", LONG, "there"), ("prefer", LONG)),
        *(("continue", LONG), ("baseline", "accept", LONG, "--reason=x"), ("show", f"ranks/{LONG}")),
        *(("list", f"runs={LONG}"), ("status", f"runs={LONG}"), ("clean", f"runs={LONG}")),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "long"),
)
def test_a_name_that_no_file_can_have_is_one_line(
    words: tuple[str, ...], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "xxxx… (" in line


@pytest.mark.parametrize(
    "content",
    [
        '{"verdict": "complete", "attempts": [3], "params": [1], "value": "x"}',
        '{"state": [], "objective": [3], "trials": "x", "number": "y", "verdict": {}}',
        pytest.param(
            '{"verdict": "complete", "attempts": {"a": 1}, "value": [[]], "params": {"x": []}}', marks=pytest.mark.slow
        ),
        pytest.param('{"attempts": [{"started": "a", "ended": []}]}', marks=pytest.mark.slow),
    ],
)
def test_a_record_of_another_shape_is_damaged_and_no_traceback(
    content: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = (runs / "ranks").glob("001-*")
    for file in (RunDir(folder).trial, runs / "ranks" / "study.json"):
        before = file.read_text()
        file.write_text(content)
        for words in (
            ["list"],
            ["list", "ranks"],
            ["show", "ranks"],
            ["show", "ranks/1"],
            ["status"],
            ["status", "ranks"],
        ):
            assert main(words) in (0, 2)
        assert main(["diff", "ranks/0", "ranks/1"]) in (0, 1, 2)
        capsys.readouterr()
        assert main(["list", "ranks"]) == 0
        assert file.name == "study.json" or "damaged" in capsys.readouterr().out
        file.write_text(before)
