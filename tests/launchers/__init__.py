"""Launchers of the tests, and the conf/ folder that names them."""

from __future__ import annotations

from pathlib import Path

CONF = Path(__file__).parent / "conf"


def name_them(folder: Path) -> None:
    """Have a command that runs in `folder` know them: a link, so that all these folders share what they compose."""
    conf = folder / "conf"
    if not conf.exists():
        conf.symlink_to(CONF)
        return
    if conf.resolve() != CONF:  # it has choices of its own
        (conf / "launcher").mkdir(exist_ok=True)
        for file in (CONF / "launcher").iterdir():
            (conf / "launcher" / file.name).write_text(file.read_text())
