"""Scripts into words, as a shell would make them."""

from __future__ import annotations

import pytest

from sweeplora.convert.shell import commands, plain
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
