"""The report on what became of each flag, in Markdown: one table per fate."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sweeplora.convert.conversion import Conversion
from sweeplora.convert.entries import Entry
from sweeplora.convert.sweep_file import is_secret

_TAKEN = "Taken over"
_SILENT = {
    "no effect": ("No effect", "These change nothing, in sd-scripts or in sweeplora, or restate a default."),
    "aside": ("Not supported here", "The training result does not depend on these."),
    "missing": ("Not taken over", "These change what sd-scripts learns, and sweeplora does not support them."),
    "unknown": (
        "Unknown to sd-scripts",
        "sd-scripts has no such flags: it ignores those in a file and refuses the others.",
    ),
}


def report(conversion: Conversion, name: str) -> str:
    """The full report on the file that `+sweep=name` selects."""
    taken, defaults = conversion.of("became"), conversion.of("default")
    parts = [
        f"# {conversion.command.script} -> +sweep={name}",
        _counts(conversion),
        *_section(_TAKEN, "", taken),
        *_section("Said explicitly", "Not in the command: sd-scripts' defaults that matter.", defaults),
    ]
    for fate, (title, lead) in _SILENT.items():
        parts += _section(title, lead, conversion.of(fate))
    return "\n\n".join(parts) + "\n"


def _counts(conversion: Conversion) -> str:
    flags = {fate: len({entry.flag for entry in conversion.of(fate)}) for fate in ("became", *_SILENT)}
    return (
        f"{flags['became']} flags and arguments taken over, {flags['no effect']} without effect, "
        f"{flags['aside'] + flags['missing']} not supported here, {flags['unknown']} unknown to sd-scripts."
    )


def _section(title: str, lead: str, entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return []
    keyed = any(entry.fate in ("became", "default") for entry in entries)
    head = "| flag | key | value | note |\n|---|---|---|---|" if keyed else "| flag | why |\n|---|---|"
    rows = "\n".join(
        _row(entry) if keyed else f"| `{_cell(_named(entry))}` | {_cell(entry.note)} |" for entry in entries
    )
    return [f"## {title}" + (f"\n\n{lead}" if lead else ""), f"{head}\n{rows}"]


def _named(entry: Entry) -> str:
    return entry.flag if entry.value is None or is_secret(entry.flag) else f"{entry.flag} {entry.value}"


def _row(entry: Entry) -> str:
    key, note = (entry.key.removeprefix("+"), entry.note) if entry.key else (entry.note, "")
    flag = f"`{_cell(entry.flag)}`" if entry.flag else ""
    value = json.dumps(entry.value, ensure_ascii=False, default=str)
    return f"| {flag} | `{_cell(key)}` | `{_cell(value)}` | {_cell(note)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
