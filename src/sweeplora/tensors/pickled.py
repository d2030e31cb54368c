"""Finds the tensors of a `.ckpt` that torch.save wrote, without torch and without running anything the file names."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Mapping
from copy import copy
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from sweeplora.tensors.stored import ITEM_SIZES, Stored, UnreadableFile

_STORAGES = {
    **{"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"},
    **{"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8"},
    **{"ByteStorage": "U8", "BoolStorage": "BOOL"},
}
_INERT = frozenset(
    {
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "_codecs.encode",
    }
)
"""Names that training programs store with the weights; they are ignored here."""

_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError, AssertionError),
    *(NotImplementedError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error),
)
"""What zipfile and pickle raise for a corrupt archive or pickle."""

_CHUNK = 1 << 20
_NO_CHECKSUM = 0
_LOCAL_HEADER = 30
_LOCAL_MARK = b"PK\x03\x04"
_NAME_LENGTH, _EXTRA_LENGTH = slice(26, 28), slice(28, 30)


class _Storage(NamedTuple):
    """A record of the archive: a run of numbers of one type."""

    file: Path
    offset: int
    size: int
    dtype: str


class _Nothing:
    """The result of calling an ignored name in the pickle; accepts any arguments and state."""

    def __init__(self, *arguments: object) -> None:
        return

    def __setstate__(self, state: object) -> None:
        return


class _Ordered(dict[Any, Any]):
    """An ordered dict; a state dict's attributes other than its entries are ignored."""

    def __setstate__(self, state: object) -> None:
        return


def read_checkpoint(file: Path) -> dict[str, Stored]:
    """Every tensor of a checkpoint by name; of a training checkpoint, its `state_dict`.

    The pickle inside is read by an unpickler that knows only tensors and plain containers. Raises UnreadableFile
    for any other name in it (which could be code), for a truncated file, and for a file from before torch 1.6,
    which is not an archive. The tensors' bytes are not read: `damaged_record` does that.
    """
    try:
        with ZipFile(file) as archive, file.open("rb") as stream:
            content = _Unpickler(archive, stream, file).load()
    except BadZipFile:
        raise UnreadableFile(_no_archive(file)) from None
    except _DAMAGE:
        raise UnreadableFile("holds no state dict that can be read") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UnreadableFile("holds no state dict")
    return {str(name): value for name, value in content.items() if isinstance(value, Stored)}


def damaged_record(file: Path) -> str | None:
    """The first record of a checkpoint whose bytes do not have the checksum that the archive says, None if all have.

    Reads the whole file. torch.save writes checksums unless it is told not to (`set_crc32_options`): such records pass.
    """
    try:
        with ZipFile(file) as archive:
            return next((info.filename for info in archive.infolist() if _is_damaged(archive, info)), None)
    except (BadZipFile, *_DAMAGE):
        return "its index"


def _is_damaged(archive: ZipFile, info: ZipInfo) -> bool:
    try:
        with archive.open(_as_checked(info)) as stream:
            while stream.read(_CHUNK):
                pass
    except (BadZipFile, *_DAMAGE):
        return True
    return False


def _content(archive: ZipFile, info: ZipInfo) -> bytes:
    """A record's bytes. Raises BadZipFile if they do not have its checksum."""
    with archive.open(_as_checked(info)) as stream:
        return stream.read()


def _as_checked(info: ZipInfo) -> ZipInfo:
    """A record as zipfile is to read it: one that torch.save was told to write no checksum for has 0 in its place."""
    if info.CRC == _NO_CHECKSUM:
        info = copy(info)
        info.CRC = None  # type: ignore[assignment]  # zipfile then compares nothing
    return info


class _Unpickler(pickle.Unpickler):
    """Makes a Stored of every tensor; imports and calls nothing that the file asks for."""

    def __init__(self, archive: ZipFile, stream: IO[bytes], file: Path) -> None:
        self._records = {info.filename: info for info in archive.infolist()}
        self._stream = stream
        self._file = file
        self._size = file.stat().st_size
        index = next((name for name in self._records if name.rpartition("/")[2] == "data.pkl"), None)
        if index is None:
            raise UnreadableFile("holds no data.pkl; it is no checkpoint that torch.save wrote")
        self._folder = index.removesuffix("data.pkl") + "data/"
        super().__init__(BytesIO(_content(archive, self._records[index])), encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for a name that a state dict needs; raises UnreadableFile for any other name."""
        match f"{module}.{name}".split("."):
            case ["collections", "OrderedDict"]:
                return _Ordered
            case ["torch", "_utils", "_rebuild_tensor_v2"]:
                return _tensor
            case ["torch", "_utils", "_rebuild_parameter"]:
                return _parameter
            case ["torch", "Size"]:
                return tuple
            case ["torch", storage] if storage in _STORAGES:
                return _STORAGES[storage]
        if f"{module}.{name}" in _INERT:
            return _Nothing
        raise UnreadableFile(f"is a pickle that asks for {module}.{name}, which could run code")

    def persistent_load(self, pid: Any) -> _Storage:
        """The record that holds a tensor's numbers."""
        _, dtype, key, _, count = pid
        info = self._records.get(f"{self._folder}{key}")
        if info is None or info.file_size < count * ITEM_SIZES[dtype]:
            raise UnreadableFile("is truncated")
        if info.compress_type != ZIP_STORED:
            raise UnreadableFile("is a compressed archive; save it again with torch.save")
        start = self._start(info)
        if start + info.file_size > self._size:
            raise UnreadableFile("is truncated")
        return _Storage(self._file, start, info.file_size, dtype)

    def _start(self, info: ZipInfo) -> int:
        """Where a record's bytes begin: after its local header, whose size the archive's index does not give."""
        self._stream.seek(info.header_offset)
        header = self._stream.read(_LOCAL_HEADER)
        if not header.startswith(_LOCAL_MARK):
            raise UnreadableFile("is a broken archive")
        lengths = (int.from_bytes(header[part], "little") for part in (_NAME_LENGTH, _EXTRA_LENGTH))
        return info.header_offset + _LOCAL_HEADER + sum(lengths)


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Stored:
    start = storage.offset + offset * ITEM_SIZES[storage.dtype]
    stored = Stored(storage.file, start, storage.dtype, tuple(shape), tuple(stride))
    if offset < 0 or start + stored.extent > storage.offset + storage.size:
        raise UnreadableFile("holds a tensor that is larger than its record")
    return stored


def _parameter(data: Stored, *_: object) -> Stored:
    return data


def _no_archive(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(2)
    if start == b"PK":
        return "is a truncated or damaged archive"
    if start[:1] == pickle.PROTO:
        return "is a pickle from before torch 1.6; load it with torch.load(weights_only=True) and save it again"
    return "is no checkpoint that torch.save wrote"
