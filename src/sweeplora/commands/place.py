"""Where a verb finds the runs: `runs=FOLDER` among its words, or what the configuration says, without Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweeplora.errors import UserError


def split_runs(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder of all runs, absolute, and the words that are not `runs=FOLDER`.

    Without the word it is the `runs` of ./conf/config.yaml, else `runs`. Raises UserError if there is no such folder.
    """
    runs, others = runs_of(words)
    if not runs.is_dir():
        raise UserError("runs", runs, "there is no such folder; give runs=FOLDER")
    return runs, others


def runs_of(words: Sequence[str]) -> tuple[Path, list[str]]:
    """As `split_runs`, for a folder that need not be there."""
    given = [word.partition("=")[2] for word in words if word.startswith("runs=")]
    others = [word for word in words if not word.startswith("runs=")]
    return Path(given[-1] if given else _configured(Path("conf/config.yaml")) or "runs").absolute(), others


def _configured(file: Path) -> str | None:
    """The `runs` of a user's own config.yaml: one line of it, read without a YAML parser's tenth of a second."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith("runs:")), "")
    value = said.removeprefix("runs:").partition(" #")[0].strip().strip("'\"")
    return value if value and "${" not in value else None
