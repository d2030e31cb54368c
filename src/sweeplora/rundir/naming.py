"""Names of a run's weights: the file is named after the searched values, the title inside it after the experiment.

The file name may differ between studies that share a run; the contents may not, since one signature gives one file.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sweeplora.errors import UserError
from sweeplora.rundir.files import read_sealed, sealed, write_json
from sweeplora.rundir.folder import RunDir

FIELDS = ("name", "swept", "signature")
DIGITS = 8
"""Of a signature that stand in a title."""

_SHORT_DIGITS = 6
_MOST_BYTES = 200
"""Of a name: what is put behind it (a step, an ending, a temporary file's mark) fits a file system's 255 too."""

_ILLEGAL = re.compile(r"[^\w.+-]+")
_SEPARATORS = "-_. "

Swept = Mapping[str, str | int | float | bool | None]
"""What a study proposed: dotted key, or group -> value."""


@dataclass(frozen=True)
class Naming:
    """The names of one run's weights.

    `stem`: the stem of the file names. `name` and `signature`: the experiment's; the signature is None in a run folder
    that no driver created.
    """

    name: str
    stem: str
    signature: str | None = None

    @property
    def title(self) -> str:
        """The experiment's title inside a file: its name and the first digits of its signature."""
        return self.name if self.signature is None else f"{self.name}-{self.signature[:DIGITS]}"


def check_template(template: str) -> None:
    """Raise UserError if `file_name` names an unknown field or does not give a legal name."""
    mend = f"use letters, digits, - _ and {{{'}, {'.join(FIELDS)}}}, in quotes on the command line"
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        example = template.format(name="a", swept="b", signature="c")
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError("file_name", template, mend) from error
    if not set(fields) <= set(FIELDS) or _ILLEGAL.search(example) or not example.strip(_SEPARATORS):
        raise UserError("file_name", template, mend)


def weights_stem(template: str, name: str, signature: str, swept: Swept) -> str:
    """The stem of a run's weights files, unique among the trials of its study.

    `swept` becomes `dim8-alpha4`: the last part of each key and its value. If that omits something (long numbers,
    characters not allowed in a name, more than 200 bytes), or the template does not include the searched values, the
    first digits of the signature are appended.
    """
    parts = [_part(key, value) for key, value in _short_keys(swept).items()]
    text = "-".join(part for part, _ in parts)
    made = template.format(name=name, swept=text, signature=signature).strip(_SEPARATORS)
    told = "{signature}" in template or not swept or ("{swept}" in template and all(whole for _, whole in parts))
    if told and len(made.encode()) <= _MOST_BYTES:
        return made
    kept = made.encode()[: _MOST_BYTES - _SHORT_DIGITS - 1].decode(errors="ignore").strip(_SEPARATORS)
    return f"{kept}-{signature[:_SHORT_DIGITS]}"


def write_naming(run: RunDir, naming: Naming) -> None:
    """Write the names to the run's folder, for the training."""
    write_json(run.naming, sealed({"name": naming.name, "stem": naming.stem, "signature": naming.signature}))


def is_named(run: RunDir) -> bool:
    """Whether a run's folder has the names that a driver wrote to it, undamaged."""
    return read_sealed(run.naming) is not None


def read_naming(run: RunDir, name: str) -> Naming:
    """The names that a driver wrote to a run's folder; just the configuration's `name` if none did.

    A damaged file counts as none.
    """
    content = read_sealed(run.naming) or {}
    texts = {key: value for key, value in content.items() if isinstance(value, str)}
    return Naming(texts.get("name", name), texts.get("stem", name), texts.get("signature"))


def _short_keys(swept: Swept) -> dict[str, str | int | float | bool | None]:
    """Each key by its last part, or in full if two keys share the last part."""
    counts = Counter(key.rpartition(".")[2] for key in swept)
    return {
        last if counts[last := key.rpartition(".")[2]] == 1 else key.replace(".", "_"): value
        for key, value in swept.items()
    }


def _part(key: str, value: str | int | float | bool | None) -> tuple[str, bool]:
    """A key with its value, and whether the value is complete."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:.4g}"
        return f"{key}{text}", float(text) == value
    text = value if isinstance(value, str) else "null" if value is None else str(value).lower()
    legal = _ILLEGAL.sub("_", text)
    return f"{key}_{legal}", legal == text
