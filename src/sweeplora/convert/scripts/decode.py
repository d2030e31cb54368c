"""Decodes a script's bytes to text: UTF-8, UTF-16, or Windows code pages."""

from __future__ import annotations

import codecs
import re

from sweeplora.errors import UserError

_UNLIKELY = re.compile(
    r"[\u0192\u02c6\u02dc\u2020-\u2022\u2030\u201a\u201e\u2039\u203a\xa6\xa8\xac\xaf\xb4\xb6\xb8\xd7\xf7]"
    r"|\\[\u201d\u2019]|\u201d[a-zA-Z]"
)
"""What Western scripts do not hold, and other code pages' letters read as Western ones do."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode(data: bytes, name: str) -> str:
    """The text, with line ends normalised to a newline. Raises UserError for bytes that are not text."""
    text = _text(data, name).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise UserError("convert", name, "is not text: it holds zero bytes")
    return text


def code_page(data: bytes) -> str | None:
    """The Windows code page that `decode` takes text for, which it can only guess; None for UTF-8 and UTF-16."""
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "Windows-1252" if _chinese(data) is None else "GBK"
    return None


def _text(data: bytes, name: str) -> str:
    encodings = next(([encoding] for mark, encoding in _MARKS if data.startswith(mark)), ["utf-8"])
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return _code_page(data, name)


def _code_page(data: bytes, name: str) -> str:
    """GBK if it decodes to common Chinese characters, otherwise the Western code page of Windows."""
    chinese = _chinese(data)
    if chinese is not None:
        return chinese
    try:
        western = data.decode("cp1252")
    except UnicodeDecodeError:
        western = None
    if western is None or _UNLIKELY.search(western) or not all(one.isprintable() or one in "\n\r\t" for one in western):
        raise UserError("convert", name, "is neither UTF-8 nor GBK nor Windows-1252 text; save it as UTF-8")
    return western


def _chinese(data: bytes) -> str | None:
    """The text as GBK, if most of what is foreign in it is common Chinese."""
    try:
        chinese = data.decode("gbk")
    except UnicodeDecodeError:
        return None
    foreign = [char for char in chinese if ord(char) > 127]
    return chinese if sum(map(_is_common, foreign)) > len(foreign) / 2 else None


def _is_common(char: str) -> bool:
    """Whether a character is of GB 2312, whose bytes are both above ASCII."""
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
