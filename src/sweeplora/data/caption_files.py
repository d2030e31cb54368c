"""Caption files beside images: how they are found and decoded, and notices about them."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeplora.data.captions import lines
from sweeplora.data.notices import counted, shown
from sweeplora.errors import UserError

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_MOST_BYTES = 1 << 20
_WHITESPACE = "\t\n\v\f\r"
_SEPARATORS = " \t\n\v\f,;\uff0c\u3001"  # the last two are commas of Chinese and Japanese
_TWO_BYTE_SCRIPTS = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "SYRIAC", "THAANA", "NKO"}
_USUAL_EXTENSIONS = (".txt", ".caption")


@dataclass(frozen=True)
class CaptionSource:
    """Where captions come from: files with `extension` beside the images.

    An image without a caption file takes the name of its sub-folder `N_name` without the number where
    `folder_captions` says so, else `class_tokens`. `may_be_empty`: empty caption files are allowed. `every_line`: a
    caption keeps all of its lines, otherwise the first one alone.
    """

    extension: str
    class_tokens: str | None
    folder_captions: bool
    may_be_empty: bool
    every_line: bool


@dataclass(frozen=True)
class Listing:
    """The visible files below `folder`, by their paths relative to it; `key` is the configuration key that names it.

    `images` are read; `left_out` look like images or have a caption, and are not read.
    """

    key: str
    folder: Path
    names: Sequence[str]
    images: Sequence[str]
    left_out: Sequence[str]


def read_captions(
    listing: Listing, source: CaptionSource, by_folder: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """The caption of every image, in order, and notices about the caption files.

    `by_folder` holds the caption that each image's sub-folder gives it. Raises UserError for images without a caption,
    for captions without a word unless they may be empty, and for caption files that cannot be read.
    """
    files = [stem(name) + source.extension for name in listing.images]
    texts = [read_text(listing, image, file) for image, file in zip(listing.images, files, strict=True)]
    several = [file for file, text in zip(files, texts, strict=True) if text is not None and len(lines(text)) > 1]
    texts = [None if text is None else trained_text(text, source) for text in texts]
    fallbacks = [one or source.class_tokens for one in by_folder]
    named = list(zip(listing.images, texts, fallbacks, strict=True))
    missing = [name for name, text, fallback in named if text is None and fallback is None]
    if missing:
        raise _refusal(listing, missing, "without a caption", _mend_missing(listing, source, missing[0]))
    empty = [name for name, text, _ in named if text == ""]
    if empty and not source.may_be_empty:
        mend = "write captions, or give data.caption_prefix for all"
        raise _refusal(listing, empty, "with an empty caption file", mend)
    captions = [(fallback or "") if text is None else text for _, text, fallback in named]
    odd = [name for name, caption in zip(listing.images, captions, strict=True) if not _is_unicode(caption)]
    if odd:
        raise _refusal(listing, odd, "with a folder's name as a caption that is not UTF-8", "rename the folder")
    return captions, caption_notices(listing, source, [] if source.every_line else list(dict.fromkeys(several)))


def decode_text(data: bytes) -> str:
    """A text file's content, its newlines as line feeds; UTF-8, or UTF-16 and UTF-32 with a byte order mark.

    Raises ValueError with the reason for anything else: a guess could garble a caption without a sign.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        kind = encoding.removesuffix("-sig").upper()
        raise ValueError(f"is not {kind} text; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError("holds NUL characters, as UTF-16 without a byte order mark does; save it as UTF-8")
    if any(letter < " " and letter not in _WHITESPACE for letter in text):
        raise ValueError("holds control characters; save it as UTF-8 text")
    if _mixes_scripts(text):
        raise ValueError("is UTF-8 by accident and mixes scripts, as GBK or Shift-JIS text does; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _mixes_scripts(text: str) -> bool:
    """Whether letters of several alphabets stand side by side, where all beyond ASCII take two bytes in UTF-8.

    Some Chinese text in GBK is valid UTF-8: then it reads as such a mixture.
    """
    if any(letter >= "\u0800" for letter in text):
        return False
    for run in re.findall(r"[^\x00-\x7f]{2,}", text):
        scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in run}
        if len(scripts & _TWO_BYTE_SCRIPTS) > 1:
            return True
    return False


def _is_unicode(text: str) -> bool:
    """Whether a text from a file's name holds no bytes that are not UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def stem(name: str) -> str:
    """A file's name without its last suffix."""
    return os.path.splitext(name)[0]


def read_text(listing: Listing, image: str, file: str) -> str | None:
    """The text of an image's caption file, None where there is none. Raises UserError if it cannot be read."""
    path = listing.folder / file
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            _refuse_foreign(listing, image, path)
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(listing.key, shown(str(path)), "the caption is no regular file; replace it")
        if status.st_size > _MOST_BYTES:
            raise UserError(listing.key, shown(str(path)), "is larger than 1 MiB, which is no caption; take it away")
        text = decode_text(path.read_bytes()).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(listing.key, shown(str(path)), f"the caption cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(listing.key, shown(str(path)), f"the caption {error}") from None
    return text


def trained_text(text: str, source: CaptionSource) -> str:
    """What of a caption trains: all of it or its first line; '' where that holds nothing but separators."""
    kept = text if source.every_line else lines(text)[0]
    return kept if kept.strip(_SEPARATORS) else ""


def _refuse_foreign(listing: Listing, image: str, path: Path) -> None:
    """Raise UserError for a link that leads out of the data folder, and not to where a linked image lies too.

    Captions become part of the record, so a link must not put any other file of the machine into it. Data sets whose
    images and captions are links alike are common and stay possible.
    """
    target = os.path.realpath(path)
    if not os.path.exists(target):
        raise UserError(listing.key, shown(str(path)), "the caption is a link to nothing; replace it")
    folder = os.path.realpath(listing.folder)
    beside_image = os.path.dirname(target) == os.path.dirname(os.path.realpath(listing.folder / image))
    if not beside_image and os.path.commonpath([folder, target]) != folder:
        mend = f"the caption is a link out of the data folder, to {shown(target)}; put a copy in its place"
        raise UserError(listing.key, shown(str(path)), mend)


def _mend_missing(listing: Listing, source: CaptionSource, name: str) -> str:
    others = {stem(other) + os.path.splitext(other)[1].lower(): other for other in listing.names}
    for extension in _USUAL_EXTENSIONS:
        other = others.get(stem(name) + extension)
        if other is not None:
            found = os.path.splitext(other)[1]
            return f"{shown(other)} is there: give data.caption_extension={found}, or rename such files"
    return f"write {shown(Path(stem(name)).name + source.extension)} and the like beside them"


def caption_notices(listing: Listing, source: CaptionSource, several: Sequence[str]) -> list[str]:
    """Lines on caption files that are not used as written; `several` have more lines than the one that trains."""
    images = {stem(name) for name in listing.images}
    others = images | {stem(name) for name in listing.left_out}
    captions = [name for name in listing.names if name.endswith(source.extension)]
    alone = [name for name in captions if name.removesuffix(source.extension) not in others]
    unread = [name for name in listing.names if _is_unread(name, source.extension) and stem(name) in images]
    counts = Counter(stem(name) for name in listing.images)
    twins = [name for name in listing.images if counts[stem(name)] > 1]
    kinds = {os.path.splitext(name)[1] for name in unread}
    other = f" (data.caption_extension={kinds.pop()} reads these instead)" if len(kinds) == 1 else ""
    expected = f"; those that end in {source.extension} are{other}"
    first = "; data.wildcards=true takes one of their lines at random"
    return [
        *counted(several, "caption trains its first line alone", "captions train their first lines alone", first),
        *counted(alone, "caption belongs to no image", "captions belong to no image"),
        *counted(unread, "caption file is not read", "caption files are not read", expected),
        *counted(twins, "image shares its name", "images share their names, and so their captions"),
    ]


def _is_unread(name: str, extension: str) -> bool:
    return os.path.splitext(name)[1].lower() in _USUAL_EXTENSIONS and not name.endswith(extension)


def _refusal(listing: Listing, names: Sequence[str], fault: str, mend: str) -> UserError:
    count = f"{len(names)} of {len(listing.images)} images {fault} (first: {shown(names[0])})"
    return UserError(listing.key, shown(str(listing.folder)), f"{count}; {mend}")
