"""Scripts into words, as a shell would make them."""

from __future__ import annotations

import pytest

from sweeplora.convert.reading.shell import commands, plain
from sweeplora.errors import UserError


def test_lines_that_go_on_comments_and_quotes() -> None:
    text = "#!/bin/bash\n# a 'comment\npython a.py --x=1 \\\n  --y '#2' --z \"a  b\" # end\nls\r\n"
    assert commands(text, {}) == [["python", "a.py", "--x=1", "--y", "#2", "--z", "a  b"], ["ls"]]


def test_a_windows_script_goes_on_with_a_caret() -> None:
    assert commands("python a.py --x=1 ^\r\n  --y=2\r\n", {}) == [["python", "a.py", "--x=1", "--y=2"]]


def test_variables_of_the_script_and_of_the_environment() -> None:
    text = 'A=x; export B="$A y"\nC=${A}z\nrun $A "$B" ${C}/$HOME ${D:-else} $B'
    assert commands(text, {"HOME": "/h"})[-1] == ["run", "x", "x y", "xz//h", "else", "x", "y"]


def test_single_quotes_and_backslashes_keep_a_dollar() -> None:
    assert commands(r"run '$A' \$A " + '"\\$A"', {"A": "x"}) == [["run", "$A", "$A", "$A"]]


def test_lists_of_words() -> None:
    text = 'A=(--one "two words"  # a comment\n  --three)\nA+=( --four )\nrun "${A[@]}" ${A[1]}'
    assert commands(text, {})[-1] == ["run", "--one", "two words", "--three", "--four", "two", "words"]


def test_commands_end_at_operators_and_redirections_are_no_words() -> None:
    text = 'cd x && run a --b="1|2" >> log.txt 2>&1 | tee y & (ls); echo'
    assert commands(text, {}) == [["cd", "x"], ["run", "a", "--b=1|2"], ["tee", "y"], ["ls"], ["echo"]]


@pytest.mark.parametrize("word", ["$(dirname $0)/x", "`date`", "$NOWHERE", "${NOWHERE}"])
def test_what_only_running_could_tell_is_refused_where_it_is_used(word: str) -> None:
    words = commands(f"X={word}\nrun --a=$X", {})
    assert words[-1][0] == "run"
    with pytest.raises(UserError, match="only the shell can tell"):
        plain(words[-1])


def test_a_quotation_mark_that_is_never_closed_is_refused() -> None:
    with pytest.raises(UserError, match="never closed"):
        commands('run "a', {})


@pytest.mark.parametrize(
    "script",
    [
        "A=()\nif [[ $low == 1 ]]; then\n  A+=(--lowram)\nfi\nrun ${A[@]}",
        "A=()\nif [ $low ]; then A+=(--lowram); fi\nrun ${A[@]}",
        "A=\n[[ $low == 1 ]] && A=--lowram\nrun $A",
        "test -f x || A=--lowram\nrun $A",
        "A=1\nfor A in 2 3; do A=$A; run --lowram=$A; done",
    ],
)
def test_what_is_set_under_a_condition_is_refused_where_it_is_used(script: str) -> None:
    words = commands(script, {"low": "1"})
    (run,) = [one for one in words if one[0] == "run"]
    with pytest.raises(UserError, match=r"lowram.*set under a condition"):
        plain(run)


def test_after_a_condition_values_are_plain_again() -> None:
    text = "if [ -f x ]; then\n  cd x\nfi\nA=1; cd y && B=2 && run $A $B"
    assert plain(commands(text, {})[-1]) == ["run", "1", "2"]


def test_a_batch_files_variables_and_remarks() -> None:
    text = '@echo off\nREM don\'t\n:: "\nset A=C:\\out dir\nset "B=%A%\\x"\nrun --a="%A%" --b=%B%\n'
    assert commands(text, {})[-1] == ["run", "--a=C:\\out dir", "--b=C:\\out dir\\x"]
    with pytest.raises(UserError, match="%NOWHERE%"):
        plain(commands("run %NOWHERE%", {})[-1])


def test_a_windows_path_without_quotes_keeps_its_backslashes() -> None:
    assert commands(r"run --a=D:\data\img C:\x My\ folder", {}) == [["run", r"--a=D:\data\img", r"C:\x", "My folder"]]


@pytest.mark.parametrize("text", ["run `\n  --a=1", '$a = "x"\nrun --a=$a'])
def test_powershell_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="PowerShell is not read"):
        commands(text, {})
