"""A study's checks read the data folder once, for as long as no file in it changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.data.dataset import Dataset
from sweeplora.data.folder import Folder
from sweeplora.experiment import Experiment


def test_a_data_folder_is_read_again_only_when_a_file_in_it_changed(
    tiny_model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures, tmp_path / "data")
    folder = tmp_path / "data" / "train"
    reads = []
    read = Folder.read

    def counted(*given: Any) -> Dataset:
        reads.append(1)
        return read(*given)

    monkeypatch.setattr(Folder, "read", counted)

    def checked(rank: int) -> Experiment:
        words = [f"runs={tmp_path / 'runs'}", f"model.path={tiny_model}", "data=folder", f"data.dir={folder}"]
        return check(compose([*words, f"data.val_dir={tmp_path / 'data' / 'val'}", f"network.dim={rank}"]))

    first = checked(2)
    checked(4)
    assert len(reads) == 1
    caption = next(folder.glob("*.txt"))
    status, text = caption.stat(), caption.read_text()
    caption.write_text(text[::-1])
    os.utime(caption, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = checked(2)
    assert len(reads) == 2 and first.signature != second.signature
    shutil.copy(next(folder.glob("*.png")), folder / "more.png")
    (folder / "more.txt").write_text("one more")
    assert checked(2).signature != second.signature
    (folder / "more.png").unlink()
    (folder / "more.txt").unlink()
    assert checked(2).signature == second.signature
