"""Lines of a batch file that carets join, and folders that `cd` leads to."""

from __future__ import annotations

import posixpath
import re


def logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers; a caret at the end joins the next, where it is not in quotes."""
    found: list[tuple[int, str]] = []
    start, joined = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        start = number if not joined else start
        whole = joined + line
        if _goes_on(whole) and line.strip():
            joined = whole[:-1]
            continue
        found.append((start, whole))
        joined = ""
    return [*found, (start, joined)] if joined else found


def _goes_on(line: str) -> bool:
    if not line.endswith("^") or re.match(r"\s*@?(rem\b|::)", line, re.IGNORECASE):
        return False
    quoted, at = False, 0
    while at < len(line) - 1:
        if line[at] == '"':
            quoted = not quoted
        elif line[at] == "^" and not quoted:
            at += 1
        at += 1
    return not quoted and at == len(line) - 1


def moved(folder: str, path: str) -> str:
    """Where `cd path` leads."""
    path = path.replace("\\", "/")
    if re.match(r"[A-Za-z]:|/", path):
        return path
    return posixpath.normpath(f"{folder}/{path}" if folder else path)
