"""A study whose disk is full in the middle."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_disk import mounted
from tests.sweep.commands import command, living_in, records, verdicts


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB, where this user may mount one."""
    with mounted(tmp_path / "disk", 3) as disk:
        yield disk


def test_it_stops_and_says_so_in_a_line_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    words = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)", "launcher.slots=1", "launcher.attempts=1")
    behaviour = {"times": 200_000}  # 1.4 MB of weights a trial
    code, output, errors = command(small_disk, *words, behaviour=behaviour)
    assert code != 0 and "Traceback" not in output + errors
    assert f"the disk {small_disk} is full" in output + errors and "MiB more are needed" in output + errors
    assert "running" not in verdicts(small_disk) and "complete" in verdicts(small_disk)
    assert '"state": "interrupted"' in (small_disk / "runs/s/study.json").read_text()
    assert living_in(small_disk) == []
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    code, _, errors = command(small_disk, *words, behaviour=behaviour)
    assert (code, errors) == (0, "")
    assert verdicts(small_disk) == ["complete"] * 3 and len(records(small_disk)) == 3
    assert not any(small_disk.rglob("*.tmp")) and not any(small_disk.rglob(".reserve"))
