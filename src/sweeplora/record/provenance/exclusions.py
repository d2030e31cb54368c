"""Which workspace files stay out of every record: outputs, data, models and weights, and anything that looks secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.record.provenance.secret import is_secret_name

DATA = "data or models"
OUTPUTS = "outputs"
SECRET = "looks secret"

_WEIGHTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".gguf", ".pkl", ".pickle", ".npz", ".npy", ".h5"}
_WEIGHTS |= {".msgpack", ".index", ".tflite", ".engine", ".parquet", ".arrow", ".tfrecord", ".lmdb", ".mdb"}
_ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_PICTURES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif", ".tif"}
_PICTURES |= {".tiff", ".jxl", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".psd", ".xcf", ".kra", ".exr", ".hdr", ".ico"}
_PICTURES |= {".jp2", ".apng", ".dds", ".mp4", ".webm", ".mov", ".mkv", ".avi", ".wav", ".mp3", ".flac"}
_CAPTIONS = frozenset({".txt", ".caption", ".captions", ".cap", ".tags", ".tag", ".prompt", ".json"})

_SOURCES = ("conf", "sweeps", "commands")

_MAGIC: tuple[bytes, ...] = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL ",
    b"8BPS",
)
_MAGIC += (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"Rar!", b"GGUF")
_MAGIC += (b"\x89HDF", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY", b"PAR1", b"8BPS")

# Sections whose texts name no input: where the record goes, how to search, and previews' prompts, which are one's work.
_NO_INPUTS = {"sweep", "search", "pruner", "launcher", "tracking", "sample", "name", "runs"}
_ALL_INPUTS = {"data", "model"}
_NO_PLACE = {"name", "_target_"}
_PLACE = re.compile(r"(.*_)?(path|dir|file|folder|weights|vae|checkpoint|resume)s?")
_WORD = re.compile(r"[^\s,()\[\]{}'\"]+")
_MOST_LINKS = 200_000


@dataclass(frozen=True)
class Rules:
    """What stays out: `outputs` and `inputs` (data, models; real paths) by location, the rest by file type."""

    outputs: tuple[Path, ...]
    inputs: tuple[Path, ...]
    cap_bytes: int
    captions: frozenset[str] = _CAPTIONS
    """Suffixes that a caption beside its image may have."""
    sources: tuple[str, ...] = _SOURCES
    """Folders of the workspace whose sources a run is made of: they are work although git may ignore them."""


class Exclusions:
    """Applies rules to the current files below one folder."""

    def __init__(self, rules: Rules, root: Path) -> None:
        self._rules = rules
        self._root = Path(os.path.realpath(root))
        self._below = os.path.join(self._root, "")
        places = dict.fromkeys(rules.inputs, DATA) | dict.fromkeys(rules.outputs, OUTPUTS)
        self._places = {str(path): why for path, why in places.items()}
        self._folders: dict[str, Path] = {}
        self._placed: dict[str, tuple[str, str] | None] = {}
        self._pictures: dict[Path, frozenset[str]] = {}

    def place(self, path: Path) -> tuple[str, str] | None:
        """The outermost output or input that contains a file, relative to the root, and which of the two it is."""
        folder = str(self._real(path.parent))
        if folder not in self._placed:
            self._placed[folder] = self._place_of(folder)
        return self._placed[folder] or self._named(os.path.join(folder, path.name))

    def _place_of(self, folder: str) -> tuple[str, str] | None:
        """The outermost output or input that is this folder or contains it, as in `place`."""
        if not folder.startswith(self._below):
            return None
        return self._place_of(os.path.dirname(folder)) or self._named(folder)

    def _named(self, path: str) -> tuple[str, str] | None:
        """A path below the root that is an output or an input itself, as in `place`."""
        why = self._places.get(path)
        return (path.removeprefix(self._below), why) if why and path.startswith(self._below) else None

    def why_out(self, path: Path) -> str | None:
        """Why a file stays out, by its location and name; None if it may be recorded."""
        placed = self.place(path)
        if placed is not None:
            return placed[1]
        suffix = path.suffix.lower()
        if suffix in _WEIGHTS or suffix in _PICTURES or suffix in _ARCHIVES:
            return DATA
        if suffix in self._rules.captions and self._is_caption(path):
            return DATA
        name = (self._real(path.parent) / path.name).relative_to(self._root).as_posix()
        return SECRET if is_secret_name(name) else None

    def _is_caption(self, path: Path) -> bool:
        """Whether a text has an image of the same name beside it, or, inside a data folder, any image."""
        folder = self._real(path.parent)
        if folder not in self._pictures:
            self._pictures[folder] = _pictures_in(folder)
        around = any(folder.is_relative_to(place) for place in self._rules.inputs)
        return path.stem in self._pictures[folder] or (around and bool(self._pictures[folder]))

    def _real(self, folder: Path) -> Path:
        named = str(folder)
        if named not in self._folders:
            self._folders[named] = Path(os.path.realpath(named))
        return self._folders[named]


def is_data(content: bytes) -> bool:
    """Whether a file's first bytes are those of an image, an archive or a model, whatever its name."""
    if content.startswith(_MAGIC) or content[4:12] in (b"ftypavif", b"ftypheic", b"ftypisom", b"ftypmp42"):
        return True
    if content.startswith(b"RIFF") and content[8:12] in (b"WEBP", b"AVI ", b"WAVE"):
        return True
    # safetensors: the length of a JSON header, then the header
    return content[8:10] == b'{"' and int.from_bytes(content[:8], "little") < 1 << 32


def rules_of(config: Mapping[str, Any], runs: Path, cap_mib: float) -> Rules:
    """The rules for a resolved config: every existing path that its sections name is an input.

    That includes paths that a sweep may choose, and the targets of links in the data folders.
    """
    texts = (os.path.expanduser(text) for text in _inputs(config) if text)
    named = {Path(os.path.realpath(text)) for text in texts if os.path.exists(text)}
    linked = {target for place in named for target in _linked(place)}
    captions = {str(value).lower() for key, value in _leaves(config.get("data") or {}) if key == "caption_extension"}
    outputs = tuple(Path(os.path.realpath(path)) for path in _outputs(config.get("tracking") or {}, runs))
    packages = {text.partition(".")[0] for key, text in _leaves(config) if key == "_target_"} - {""}
    sources = (*_SOURCES, *sorted(packages))
    return Rules(outputs, tuple(sorted(named | linked)), int(cap_mib * (1 << 20)), _CAPTIONS | captions, sources)


def _outputs(tracking: Mapping[str, Any], runs: Path) -> Iterator[Path]:
    yield runs
    # If `runs` is the workspace itself, its contents are told apart by name.
    yield from (runs / name for name in ("cache", "workspaces", "single", "artifacts", "mlflow.db", "optuna.db"))
    yield from (study.parent for study in runs.glob("*/study.json"))
    for key in ("artifacts", "tensorboard"):
        if tracking.get(key):
            yield Path(str(tracking[key]))
    uri = str(tracking.get("uri") or "")
    if uri.startswith("sqlite:///"):
        yield Path(uri.removeprefix("sqlite:///"))


def _inputs(config: Mapping[str, Any]) -> Iterator[str]:
    for section, value in config.items():
        if section in _NO_INPUTS:
            continue
        for key, text in _leaves({section: value}):
            likely = section in _ALL_INPUTS or _PLACE.fullmatch(key) or os.sep in text or Path(text).suffix
            if likely and key not in _NO_PLACE:
                yield text
    space = (config.get("sweep") or {}).get("space") or {}
    for _, text in _leaves(space):
        yield from _WORD.findall(text)


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, text) for every string in a tree of mappings and lists; a list's items have the list's key."""
    for key, value in tree.items():
        yield from _leaf(str(key), value)


def _leaf(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        yield from _leaves(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaf(key, item)
    elif isinstance(value, str):
        yield key, value


def _linked(place: Path) -> Iterator[Path]:
    """The targets of links below a folder."""
    seen = 0
    for folder, folders, names in os.walk(place):
        for name in (*folders, *names):
            seen += 1
            if seen > _MOST_LINKS:
                return
            path = os.path.join(folder, name)
            if os.path.islink(path):
                yield Path(os.path.realpath(path))


def _pictures_in(folder: Path) -> frozenset[str]:
    """Names of the images in a folder, with and without suffix."""
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    pictures = [Path(name) for name in names if Path(name).suffix.lower() in _PICTURES]
    return frozenset(text for picture in pictures for text in (picture.stem, picture.name))
