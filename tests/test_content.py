"""Content hashes: what changes them, and when a file is read again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sweeplora.check.place import exists_and_writable
from sweeplora.content import ContentHashes
from sweeplora.randomness import seed_of


def test_a_file_is_hashed_once_and_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    memo = tmp_path / "cache" / "hashes.json"
    hashes = ContentHashes(memo)
    assert hashes.file(file) == hashlib.sha256(b"one").hexdigest()
    hashes.save()
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Same size and time: the memo answers, which proves that it is used.
    assert ContentHashes(memo).file(file) == hashlib.sha256(b"one").hexdigest()
    os.utime(file, ns=(0, status.st_mtime_ns + 1))
    assert ContentHashes(memo).file(file) == hashlib.sha256(b"two").hexdigest()


def test_a_folder_hash_depends_on_names_and_contents_not_on_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.txt").write_text("x")
    hashes = ContentHashes(tmp_path / "memo.json")
    one = hashes.folder(tmp_path / "one")
    assert hashes.folder(tmp_path / "two") == one
    (tmp_path / "two" / ".DS_Store").write_text("junk")
    assert hashes.folder(tmp_path / "two") == one
    (tmp_path / "two" / "sub" / "x.txt").rename(tmp_path / "two" / "sub" / "y.txt")
    assert hashes.folder(tmp_path / "two") != one


def test_a_torn_memo_costs_nothing_but_time(tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    memo.write_text('{"a": ')
    (tmp_path / "f").write_bytes(b"x")
    hashes = ContentHashes(memo)
    assert hashes.file(tmp_path / "f") == hashlib.sha256(b"x").hexdigest()
    hashes.save()
    assert '"' in memo.read_text()


def test_writable_looks_at_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert exists_and_writable(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    assert not exists_and_writable(tmp_path / "file" / "below")


def test_seeds_differ_by_purpose_and_place_and_never_by_process() -> None:
    seeds = {seed_of(s, what, i) for s in (0, 1) for what in ("noise", "timestep") for i in range(500)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, "noise", 1, 2) == 7193258167083100941
