"""Decodes a script's bytes to text: UTF-8, UTF-16, or Windows code pages."""

from __future__ import annotations

import codecs

from sweeplora.errors import UserError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode(data: bytes, name: str) -> str:
    """The text, with line ends normalised to a newline. Raises UserError for bytes that are not text."""
    text = _text(data, name).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise UserError("convert", name, "is not text: it holds zero bytes")
    return text


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
    try:
        chinese = data.decode("gbk")
    except UnicodeDecodeError:
        chinese = ""
    foreign = [char for char in chinese if ord(char) > 127]
    if foreign and sum(_is_common(char) for char in foreign) > len(foreign) / 2:
        return chinese
    try:
        western = data.decode("cp1252")
    except UnicodeDecodeError as error:
        mend = "is neither UTF-8 nor GBK nor Windows-1252 text; save it as UTF-8"
        raise UserError("convert", name, mend) from error
    if all(char.isprintable() or char in "\n\r\t" for char in western):
        return western
    raise UserError("convert", name, "is neither UTF-8 nor GBK nor Windows-1252 text; save it as UTF-8")


def _is_common(char: str) -> bool:
    """Whether a character is of GB 2312, whose bytes are both above ASCII."""
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
