"""A command's text into words: carets and redirections by cmd's rules, quotes and backslashes by the program's."""

from __future__ import annotations

import re

_REDIRECTION = re.compile(r"\d?(?:>>?|<)(?:&\d|[ \t]*(?:\"[^\"]*\"|[^\s\"&|<>]+))?")


def plain(text: str) -> str:
    """The text without the carets that escape, and without redirections."""
    kept: list[str] = []
    at, quoted = 0, False
    while at < len(text):
        char = text[at]
        if char == '"':
            quoted = not quoted
        elif char == "^" and not quoted:
            at += 1
            kept.append(text[at : at + 1])
            at += 1
            continue
        elif not quoted and (char in "<>" or _numbered(text, at)):
            found = _REDIRECTION.match(text, at)
            at = found.end() if found else at + 1
            continue
        kept.append(char)
        at += 1
    return "".join(kept)


def _numbered(text: str, at: int) -> bool:
    """Whether `2>` stands here, as a word of its own."""
    return text[at].isdigit() and text[at + 1 : at + 2] in ("<", ">") and (at == 0 or text[at - 1] in " \t")


def split(text: str) -> list[str]:
    """Words as a Windows program reads its command line: 2n backslashes before a quote are n, one more escapes it."""
    words: list[str] = []
    word: str | None = None
    at, quoted = 0, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            end = re.compile(r"\\*").match(text, at)
            assert end is not None
            count = end.end() - at
            at = end.end()
            before_quote = text[at : at + 1] == '"'
            word = (word or "") + "\\" * (count // 2 if before_quote else count)
            if before_quote and count % 2:
                word += '"'
                at += 1
        elif char == '"':
            quoted = not quoted
            word = word or ""
            at += 1
        elif char in " \t\n" and not quoted:
            words += [] if word is None else [word]
            word = None
            at += 1
        else:
            word = (word or "") + char
            at += 1
    return words if word is None else [*words, word]
