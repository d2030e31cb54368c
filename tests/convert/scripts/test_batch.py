"""Windows batch files into commands, by cmd's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.commands.convert import main
from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.shells import batch, language
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError


def _words(text: str, file: Path | None = None) -> list[list[str]]:
    reading = batch(Script(text, "train.bat", file, {}))
    return [[word.text for word in command.words] for command in reading.commands]


def _refusal(text: str) -> str:
    reading = batch(Script(text, "train.bat", None, {}))
    with pytest.raises(UserError) as refused:
        settle(find(reading)[0], reading.script)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run --a ^\n  --b", ["run", "--a", "--b"]),
        ("run --a^\n  --b", ["run", "--a", "--b"]),
        ('run --a="x ^\n', ["run", "--a=x ^"]),
        ("run --a=x^&y --b=a^^b", ["run", "--a=x&y", "--b=a^b"]),
        (
            r"run --d=.\train\cat --n=\\nas\pics --o=D:\loras(2)",
            ["run", r"--d=.\train\cat", r"--n=\\nas\pics", r"--o=D:\loras(2)"],
        ),
        (
            "run --optimizer_args betas=(0.9,0.99) weight_decay=0.1",
            ["run", "--optimizer_args", "betas=(0.9,0.99)", "weight_decay=0.1"],
        ),
        ('set OUT="D:\\my x"\nrun --o=%OUT%', ["run", r"--o=D:\my x"]),
        ('set "OUT=D:\\my x"\nrun --o="%out%\\y"', ["run", r"--o=D:\my x\y"]),
        ("@set Dim=16\nSET dim=%DIM%2\nrun --d=%dIm%", ["run", "--d=162"]),
        ("echo Don't\nREM it's\n:: \"\nrun 'a b'", ["run", "'a", "b'"]),
        ('run "a\\"b" "c\\\\" d\\\\e', ["run", 'a"b', "c\\", "d\\\\e"]),
        ("run --x=1 > log.txt 2>&1", ["run", "--x=1"]),
        ("run 50%% %*", ["run", "50%"]),
        ('cmd /k "run --a "b c""', ["run", "--a", "b c"]),
        ('start "my title" /wait cmd /c run --a', ["run", "--a"]),
        ("call run --a", ["run", "--a"]),
        ("set A=\nrun [%A%]", ["run", "[]"]),
        ("set A=abcdef\nrun %A:~1,3% %A:cd=X%", ["run", "bcd", "abXef"]),
        ('set K=XL\nif /i "%K%"=="xl" (\n  set R=1024\n) else (\n  set R=512\n)\nrun %R%', ["run", "1024"]),
        ('set K=1\nif not "%K%"=="1" set R=5\nset Q=7\nif %Q% GEQ 7 set R=6\nrun %R%', ["run", "6"]),
        ("set A=1\nif defined A (set B=2)\nrun %B%", ["run", "2"]),
        ("if 1==2 set A=1\nset A=2\nrun %A%", ["run", "2"]),
        ("set A=old\nif 1==1 (\nset A=new\nrun %A%\n)", ["run", "old"]),
        ("setlocal EnableDelayedExpansion\nset A=old\nif 1==1 (\nset A=new\nrun !A!\n)", ["run", "new"]),
        ("set A=1\ngoto end\nset A=2\n:end\nrun %A%", ["run", "1"]),
        ("call :train 16\ngoto :eof\n:train\nrun --d=%1\nexit /b", ["run", "--d=16"]),
        ("set /a N=16\nrun %N%", ["run", "16"]),
        ("if exist x (cd y) else (echo no)\nrun --a", ["run", "--a"]),
    ],
)
def test_words_are_those_that_cmd_passes(text: str, words: list[str]) -> None:
    assert _words(text)[-1] == words


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("RUN %1", "%1", "none is given"),
        ("set A=%~1\nRUN %A%", "%A%", "none is given"),
        ("set A=1\nset /p A=rank?\nRUN %A%", "%A%", "typed in"),
        ("set A=1\nset /a A+=1\nRUN %A%", "%A%", "set /a"),
        ("set A=1\nRUN !A!", "!A!", "EnableDelayedExpansion"),
        ("RUN %NOWHERE%", "%NOWHERE%", "set nowhere"),
        ("for %%D in (16 32) do RUN %%D", "%%D", "loop on line 1"),
        ("set A=1\nif exist x set A=2\nRUN %A%", "%A%", "exist x"),
        ('set A=1\nif "%NO%"=="x" (\nset A=2\n)\nRUN %A%', "%a%", "%NO%"),
        ("set A=1\nif exist x goto b\nset A=2\n:b\nRUN %A%", "%a%", "goto"),
        ("set A=1\ncall settings.bat\nRUN %A%", "%a%", "settings.bat"),
        ("set A=1\nfor /f %%i in ('where python') do set A=%%i\nRUN %A%", "%A%", "loop on line 2"),
        ("RUN --a=x&y", "x&", "unquoted &"),
        ("RUN --a ^\n:: why\n--b", "--b", "comment on line 2"),
        ("RUN --a ^\n\n--b", "--b", "empty line 2"),
        ("RUN --a ^ \n--b", "--b", "a blank follows the ^"),
    ],
)
def test_what_is_not_known_or_torn_off_is_named(text: str, name: str, why: str) -> None:
    text = text.replace("RUN", "accelerate launch train_network.py")
    message = _refusal(text)
    assert name.lower() in message.lower()
    assert why in message


def test_the_files_folder_is_known(tmp_path: Path) -> None:
    assert _words("run %~dp0train", tmp_path / "train.bat") == [["run", f"{tmp_path}/train"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accelerate launch a.py ^\n --b", "batch"),
        ("@echo off\nrun", "batch"),
        ("set A=1\nrun %A%", "batch"),
        (r"accelerate launch a.py --d=D:\data\x", "batch"),
        (r"accelerate launch a.py --d=.\data\x", "batch"),
        ("A=1\nrun $A", "bash"),
        ("accelerate launch a.py `\n --b", "powershell"),
        ('$a = "x"\nrun --a=$a', "powershell"),
    ],
)
def test_a_pasted_text_is_read_by_the_rules_of_its_own_shell(text: str, expected: str) -> None:
    assert language(Script(text, "the text")) == expected


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *(("gbk", "猫猫风格"), ("cp1252", "mädchen"), ("cp1252", "it\u2019s\u2013mine\u2026")),
        *(("utf-8", "猫"), ("utf-16", "猫")),
    ],
)
def test_other_code_pages_are_read_and_a_guess_is_said(
    encoding: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        f"@echo off\r\nrem {name}\r\nset OUT={name}\r\naccelerate launch train_network.py ^\r\n"
        f"  --pretrained_model_name_or_path=D:\\m.safetensors --train_data_dir=D:\\{name} --resolution=512 "
        "--network_module=networks.lora --output_name=%OUT%\r\n"
    )
    Path("train.bat").write_bytes(text.encode(encoding))
    assert main(["--output=sweeps/it.yaml", "train.bat"]) == 0
    written = Path("sweeps/it.yaml").read_text(encoding="utf-8")
    assert f"name: {name}" in written
    assert f"D:\\{name}" in written
    guess = {"gbk": "GBK", "cp1252": "Windows-1252"}.get(encoding, "")
    assert (f"train.bat is not UTF-8 and was read as {guess};" in capsys.readouterr().err) == bool(guess)


@pytest.mark.parametrize("name", ["猫", "猫風", "ねこ", "テスト"])
def test_japanese_is_not_read_as_western_text(name: str, tmp_path: Path) -> None:
    text = f"accelerate launch train_network.py --train_data_dir=D:\\{name}\r\n"
    (tmp_path / "train.bat").write_bytes(text.encode("cp932"))
    with pytest.raises(UserError, match="save it as UTF-8"):
        main([str(tmp_path / "train.bat")])


def test_bytes_of_no_code_page_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.bat").write_bytes(b"accelerate launch train_network.py --name=\x81\x8d\xff\x90\n")
    with pytest.raises(UserError, match="save it as UTF-8"):
        main([str(tmp_path / "train.bat")])


def test_a_batch_file_that_is_called_sh_is_still_one(tmp_path: Path) -> None:
    file = tmp_path / "train.sh"
    assert language(Script('accelerate launch ^\na.py --x="y" ^\n', "train.sh", file)) == "batch"
    assert language(Script("accelerate launch \\\na.py --x=2^\n", "train.sh", file)) == "bash"
