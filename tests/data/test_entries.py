"""The store: whole entries only, made once by whoever comes first, damage noticed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from sweeplora.content import ContentHashes
from sweeplora.data.entries import EntryStore, Make, Tensors
from sweeplora.errors import UserError
from tests.forked import in_a_process
from tests.sweep.commands import until

NOBODY = 65534
KEYS = [f"{number:02}-key" for number in range(12)]


def _silent(_done: int, _missing: int) -> None:
    pass


def _value(key: str) -> Tensors:
    generator = torch.Generator().manual_seed(int(key[:2]))
    return {"mean": torch.randn(4, 8, generator=generator), "half": torch.ones(3, dtype=torch.float16)}


def _making(made: list[str]) -> Make:
    def make(keys: Sequence[str]) -> Iterable[tuple[str, Tensors]]:
        for key in keys:
            made.append(key)
            yield key, _value(key)

    return make


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def _fill(folder: Path) -> list[str]:
    made: list[str] = []
    store = EntryStore(folder)
    store.fill(KEYS, _making(made), _silent)
    for key in KEYS:
        assert torch.equal(store.read(key)["mean"], _value(key)["mean"])
    return made


def test_entries_are_made_once_and_read_back_exactly(tmp_path: Path) -> None:
    assert _fill(tmp_path) == KEYS
    assert _fill(tmp_path) == []
    entry = EntryStore(tmp_path).read(KEYS[3])
    assert torch.equal(entry["mean"], _value(KEYS[3])["mean"])
    assert entry["half"].dtype == torch.float16


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    _fill(tmp_path)
    _files(tmp_path)[5].unlink()
    assert _fill(tmp_path) == [KEYS[5]]


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "bit", "foreign"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    _fill(tmp_path)
    path = _files(tmp_path)[2]
    data = bytearray(path.read_bytes())
    match damage:
        case "cut":
            data = data[:-7]
        case "empty":
            data.clear()
        case "header":
            data[20] ^= 0xFF
        case "bit":
            data[-5] ^= 0x01
        case "foreign":
            data = bytearray(b"not a tensor at all, but long enough to look like a file")
    path.write_bytes(data)
    assert _fill(tmp_path) == [KEYS[2]]


def test_memory_is_bounded_and_the_rest_is_read_again(tmp_path: Path) -> None:
    _fill(tmp_path)
    store = EntryStore(tmp_path, kept_bytes=300)  # two entries of 4 x 8 floats and 3 halves
    store.fill(KEYS, _making([]), _silent)
    for path in _files(tmp_path):
        path.unlink()
    readable = [key for key in KEYS if _is_readable(store, key)]
    assert readable == KEYS[:2]


def _is_readable(store: EntryStore, key: str) -> bool:
    try:
        store.read(key)
    except UserError:
        return False
    return True


def test_what_progress_raises_ends_the_filling_and_keeps_what_was_made(tmp_path: Path) -> None:
    def stop(done: int, _missing: int) -> None:
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        EntryStore(tmp_path).fill(KEYS, _making([]), stop)
    assert len(_files(tmp_path)) == 4
    assert _fill(tmp_path) == KEYS[4:]


def test_two_that_start_at_once_make_each_entry_once(tmp_path: Path) -> None:
    log = tmp_path / "made.log"

    def make(keys: Sequence[str]) -> Iterable[tuple[str, Tensors]]:
        for key in keys:
            with log.open("a") as stream:
                stream.write(f"{key}\n")
            time.sleep(0.01)  # long enough that the other one arrives meanwhile
            yield key, _value(key)

    def work() -> None:
        store = EntryStore(tmp_path / "store")
        store.fill(KEYS, make, _silent)
        assert all(torch.equal(store.read(key)["mean"], _value(key)["mean"]) for key in KEYS)

    pids = [in_a_process(work) for _ in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert log.read_text().split() == KEYS


def test_killed_at_any_moment_only_whole_entries_are_left(tmp_path: Path) -> None:
    def endlessly() -> None:
        def make(keys: Sequence[str]) -> Iterable[tuple[str, Tensors]]:
            for number in range(1 << 30):
                key = keys[number % len(keys)]
                yield key, {"mean": _value(key)["mean"], "much": torch.zeros(1 << 20)}

        EntryStore(tmp_path).fill(KEYS, make, _silent)

    pid = in_a_process(endlessly)
    until(lambda: len(_files(tmp_path)) >= 3)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    whole = len(_files(tmp_path))
    assert whole >= 3
    (tmp_path / "00" / ".00-key.safetensors.1.2.tmp").write_bytes(b"half written")
    assert _fill(tmp_path) == KEYS[whole:]
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_every_flipped_byte_of_an_entry_is_noticed(tmp_path: Path) -> None:
    _fill(tmp_path)
    path = _files(tmp_path)[4]
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        for flip in (0x01, 0x0F, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
            with pytest.raises(KeyError):
                EntryStore(tmp_path).read(KEYS[4])
    assert _fill(tmp_path) == [KEYS[4]]


def test_an_entry_that_goes_while_it_is_in_use_is_one_line(tmp_path: Path) -> None:
    store = EntryStore(tmp_path, kept_bytes=0)
    store.fill(KEYS, _making([]), _silent)
    _files(tmp_path)[0].unlink()
    with pytest.raises(UserError, match=r"00-key.safetensors: the cache entry has gone"):
        store.read(KEYS[0])
    with pytest.raises(KeyError):
        store.read("never filled")


@pytest.fixture
def of_another() -> Iterator[Path]:
    """A folder that this user may read and not write, made by somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a file of another user's")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    os.seteuid(0)
    shutil.rmtree(folder)


def test_a_cache_of_another_user_is_read_and_what_it_lacks_is_refused_in_one_line(of_another: Path) -> None:
    made: list[str] = []
    EntryStore(of_another / "latents").fill(KEYS[:3], _making(made), _silent)
    (of_another / "hashes.json").write_text("{}")
    (of_another / "picture").write_text("a picture")
    os.seteuid(NOBODY)
    store = EntryStore(of_another / "latents")
    store.fill(KEYS[:3], _making(made), _silent)
    assert made == KEYS[:3] and torch.equal(store.read(KEYS[0])["mean"], _value(KEYS[0])["mean"])
    with pytest.raises(UserError, match=r"^runs=.*/latents/lock: this user may not write there .*runs=FOLDER"):
        store.fill(KEYS[:4], _making(made), _silent)
    hashes = ContentHashes(of_another / "hashes.json")
    assert hashes.file(of_another / "picture")
    hashes.save()  # nothing is written, and nothing is raised
    assert (of_another / "hashes.json").read_text() == "{}"
