"""Bash scripts into commands, compared with what bash itself passes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.shells import bash
from sweeplora.convert.scripts.text import Script, ScriptCommand
from sweeplora.errors import UserError
from tests.convert.scripts.bash_scripts import SCRIPTS

_STUB = '#!/bin/bash\nprintf "%s\\0" "${0##*/}" "$@" >> "$STUB_OUTPUT"\nprintf "\\n\\0" >> "$STUB_OUTPUT"\n'
_STARTED = ("accelerate", "python")


def _commands(text: str, environment: dict[str, str] | None = None, file: Path | None = None) -> list[ScriptCommand]:
    return list(bash(Script(text, "train.sh", file, environment or {})).commands)


def _words(text: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in _commands(text)]


def _refusal(text: str) -> str:
    """What is said of a script's first training."""
    with pytest.raises(UserError) as refused:
        reading = bash(Script(text, "train.sh", None, {}))
        settle(find(reading)[0], reading.script)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash to compare with")
@pytest.mark.parametrize("name", SCRIPTS)
def test_words_are_those_that_bash_passes(name: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in _STARTED:
        (tmp_path / "bin" / program).write_text(_STUB)
        (tmp_path / "bin" / program).chmod(0o755)
    (tmp_path / "train.sh").write_text(SCRIPTS[name])
    output = tmp_path / "passed"
    output.touch()
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": "/home/me", "STUB_OUTPUT": str(output)}
    subprocess.run(["bash", "train.sh"], cwd=tmp_path, env=environment, check=False, timeout=300, capture_output=True)
    passed = [record.split("\0")[:-1] for record in output.read_text().split("\n\0")[:-1]]
    assert passed
    read = _commands(SCRIPTS[name], {"HOME": "/home/me"}, tmp_path / "train.sh")
    started = [command for command in read if command.words[0].text in _STARTED]
    assert not [unknown for command in started for word in command.words for unknown in word.unknowns]
    assert [[word.text for word in command.words] for command in started] == passed


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("accelerate launch train_network.py --a \\\n  # why\n  --b=1\n", 3, "--b=1.*comment on line 2"),
        ("accelerate launch train_network.py --a \\\n\n  --b\n", 3, "--b.*empty line 2"),
        ("accelerate launch train_network.py --a \\ \n  --b\n", 2, "--b.*a blank follows the .* of line 1"),
        ("accelerate launch train_network.py --a\n  --b\n", 2, "--b.*does not continue"),
        ("accelerate launch train_network.py --a\n# note \\\n--b\n", 3, "--b.*comment on line 2"),
        ("accelerate launch train_network.py --a \\ \n", 1, "a blank after the backslash"),
        ("accelerate launch train_network.py --name=foo&bar --b\n", 1, "foo&.*unquoted &"),
        ("accelerate launch train_network.py --x (0.9,0.99)\n", 1, "unquoted parenthesis"),
        ('accelerate launch train_network.py --x "a\n', 1, "never closed"),
        ("if true; then\naccelerate launch train_network.py\n", 1, "if.*never closed; `fi` is missing"),
        ("fi\n", 1, "does not expect"),
    ],
)
def test_what_is_torn_off_or_broken_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    message = _refusal(text)
    assert message.startswith(f"train.sh line {line}=")
    assert re.search(said, message)


def test_nothing_is_lost_at_a_backslash_at_the_end_of_the_file() -> None:
    assert _words("accelerate launch train_network.py --a \\") == [["accelerate", "launch", "train_network.py", "--a"]]


_RUN = "\naccelerate launch train_network.py --network_dim="


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        (f"{_RUN}$1", "$1", "none is given"),
        (f"DIM=$1{_RUN}$DIM", "$1", "none is given"),
        (f"{_RUN}$NOWHERE", "$NOWHERE", "set nowhere"),
        (f"{_RUN}${{NOWHERE%/}}", "${NOWHERE%/}", "set nowhere"),
        (f"a=(1 2){_RUN}${{a[i]}}", "${a[i]}", "index"),
        (f"DIM=4\nfor DIM in 16 32; do{_RUN}$DIM\ndone", "$DIM", "several values in the loop on line 2: 16 32"),
        (f"DIM=4\nread -p 'rank? ' DIM{_RUN}$DIM", "$DIM", "set by `read`"),
        (f"DIM=4\nsource settings.conf{_RUN}$DIM", "$DIM", "settings.conf"),
        (f". ./settings.conf{_RUN}${{DIM:-4}}", "${DIM:-4}", "settings.conf"),
        (f"DIM=4\nlet DIM=DIM*2{_RUN}$DIM", "$DIM", "`let`"),
        (f"DIM=4\n((DIM++)){_RUN}$DIM", "$DIM", "arithmetic"),
        (f"DIM=4\nprintf -v DIM %d 8{_RUN}$DIM", "$DIM", "printf -v"),
        (f"DIM=4\nunset DIM{_RUN}$DIM", "$DIM", "set nowhere"),
        (f"DIM=4\nset_dim() {{ DIM=8; }}\nunset DIM{_RUN}$DIM", "$DIM", "set nowhere"),
        (f"DIM=4\nmapfile DIM < f{_RUN}$DIM", "$DIM", "mapfile"),
        (f"DIM=4\nwhile [ -f x ]; do DIM=8; done{_RUN}$DIM", "$DIM", "loop on line 2"),
        (f"DIM=4\nfor ((i=0; i<3; i++)); do{_RUN}$i\ndone", "$i", "loop on line 2"),
        (f"DIM=4\nif [ -f x ]; then DIM=8; fi{_RUN}$DIM", "$DIM", "if [ -f x ]"),
        (f'DIM=4\nif [ "$1" = big ]; then DIM=8; fi{_RUN}$DIM', "$DIM", "$1"),
        (f"DIM=4\ngrep -q x f && DIM=8{_RUN}$DIM", "$DIM", "grep -q x f"),
        (f"DIM=4\ncase $KIND in a) DIM=8;; esac{_RUN}$DIM", "$DIM", "case $KIND"),
        (f"DIM=$(nvidia-smi | wc -l){_RUN}$DIM", "$(nvidia-smi | wc -l)", "output of a command"),
        (f"DIM=`date`{_RUN}$DIM", "`date`", "output of a command"),
        (f"eval DIM=$X{_RUN}$DIM", "$DIM", "eval"),
        (f"X=DIM{_RUN}${{!X}}", "${!X}", "only the shell"),
        (f"{_RUN}{{16,32}}", "{16,32}", "list in braces"),
        ("N=it\naccelerate launch train_network.py --name={N}", "{N}", "Python"),
    ],
)
def test_a_value_that_is_not_known_is_named_and_refused(text: str, name: str, why: str) -> None:
    message = _refusal(text)
    assert name in message
    assert why in message


def test_a_function_that_nobody_calls_trains_nothing_and_sets_nothing() -> None:
    with pytest.raises(UserError, match=r"train_network.py: is in a function that is never called: go"):
        find(bash(Script("go() {\n accelerate launch train_network.py --a\n}\n", "train.sh")))
    text = "DIM=4\nbig() { DIM=8; }\naccelerate launch train_network.py --dim=$DIM"
    assert _words(text)[-1][-1] == "--dim=4"


@pytest.mark.parametrize(
    "text",
    [
        'T=train_network.py\nif [ -f "$T" ]; then ls "$T"; fi\necho accelerate launch $T --no',
        "ls sd-scripts/train_network.py\n[ -f train_network.py ]\nwget https://h/train_network.py",
        "exit 1\naccelerate launch train_network.py",
    ],
)
def test_what_only_names_a_script_is_no_training(text: str) -> None:
    with pytest.raises(UserError, match=r"train_network.py|exit"):
        find(bash(Script(text, "train.sh")))


def test_an_undecided_branch_that_ends_the_script_leaves_the_other() -> None:
    text = 'DIM=4\nif [ ! -d data ]; then echo "no data"; DIM=5; exit 1; fi\naccelerate launch train_network.py $DIM'
    assert _words(text)[-1][-1] == "4"


def test_an_unknown_branch_may_hold_the_training() -> None:
    text = "if [ -f x ]; then\n A=1\n accelerate launch train_network.py --a=$A\nfi"
    reading = bash(Script(text, "train.sh"))
    assert settle(find(reading)[0], reading.script).words == ("--a=1",)


def test_an_interpreter_that_is_looked_up_and_the_scripts_own_folder(tmp_path: Path) -> None:
    text = (
        'PY=$(command -v python3)\nDIR="$( cd "$( dirname "${BASH_SOURCE[0]}" )" && pwd )"\n'
        'cd "$(dirname "$0")"\n"$PY" "$DIR/train_network.py" --a=$(pwd)/x'
    )
    (command,) = _commands(text, file=tmp_path / "train.sh")
    assert [word.text for word in command.words] == [
        "python3",
        f"{tmp_path}/train_network.py",
        f"--a={tmp_path}/x",
    ]
    assert command.folder == str(tmp_path)


def test_a_settings_file_beside_the_script_is_read(tmp_path: Path) -> None:
    (tmp_path / "settings.conf").write_text("DIM=8\n")
    text = "DIM=4\nsource settings.conf\nsource venv/bin/activate\naccelerate launch train_network.py $DIM"
    assert _commands(text, file=tmp_path / "train.sh")[-1].words[-1].text == "8"


def test_words_of_the_environment_are_used_and_decide_nothing() -> None:
    text = 'DIM=4\nif [ "$HOST_KIND" = big ]; then DIM=8; fi\naccelerate launch train_network.py $HOST_KIND $DIM'
    kind, dim = _commands(text, {"HOST_KIND": "big"})[0].words[-2:]
    assert kind.text == "big"
    assert "HOST_KIND" in dim.unknowns[0].why


def test_the_folder_of_the_training_script_may_be_unknown() -> None:
    reading = bash(Script("python $SD_SCRIPTS/train_network.py --a", "train.sh"))
    assert settle(find(reading)[0], reading.script).words == ("--a",)


def test_the_scripts_own_arguments_are_none_and_said() -> None:
    reading = bash(Script('accelerate launch train_network.py --a "$@"', "train.sh"))
    assert settle(find(reading)[0], reading.script).words == ("--a",)
    assert [entry.flag for entry in reading.remarks] == ['"$@"']


def test_a_script_inside_of_another_command_is_followed() -> None:
    text = "export DIM=4\nnohup docker run --gpus all image bash -lc 'accelerate launch train_network.py --a=$DIM' &"
    assert _words(text)[-1] == ["accelerate", "launch", "train_network.py", "--a=4"]
    with pytest.raises(UserError, match=r"\$DIM is set nowhere"):
        reading = bash(Script(text.replace("export ", ""), "train.sh"))
        settle(find(reading)[0], reading.script)
