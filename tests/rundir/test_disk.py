"""A full disk: one line that names it, nothing half written, and room for the last words."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from sweeplora.rundir.disk import DiskFull, full_line, keep_reserve, remove_leftovers
from sweeplora.rundir.files import write_whole
from tests.forked import in_a_process


def limited(folder: Path, size: int) -> None:
    """What a process whose files may have 4 KiB says when it writes `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        write_whole(folder / "weights", b"x" * size)
    except DiskFull as error:
        os.write(os.open(folder / "said", os.O_CREAT | os.O_WRONLY), str(error).encode())


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"old")
    os.waitpid(in_a_process(lambda: limited(tmp_path, 3 << 20)), 0)
    said = (tmp_path / "said").read_text()
    assert said.startswith("disk=/") and "3.0 MiB more are needed" in said and "\n" not in said
    assert (tmp_path / "weights").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said", "weights"]


def test_a_small_file_gets_the_room_that_was_set_aside(tmp_path: Path) -> None:
    keep_reserve(tmp_path)
    run = tmp_path / "000-a"
    run.mkdir()
    os.waitpid(in_a_process(lambda: limited(run, 5000)), 0)
    assert not (tmp_path / ".reserve").exists()


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    pid = in_a_process(lambda: None)
    os.waitpid(pid, 0)
    (tmp_path / "a").mkdir()
    for name in (f"a/.trial.json.{pid}.5.tmp", f".x.{os.getpid()}.5.tmp", ".mine.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {f".x.{os.getpid()}.5.tmp", ".mine.tmp"}


def test_the_line_names_the_disk(tmp_path: Path) -> None:
    line = full_line(tmp_path / "not" / "there", 5 << 20)
    assert line.startswith("the disk /") and line.endswith("5.0 MiB more are needed")
    with pytest.raises(DiskFull):
        raise DiskFull("disk", "/", "x")
