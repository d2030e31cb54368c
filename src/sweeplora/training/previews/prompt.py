"""One sample prompt: parsed from a line with options or from an object in a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan, TypeAdapter, ValidationError

from sweeplora.errors import UserError
from sweeplora.training.previews.samplers import Sampler

KEY = "sample.prompts"
_OPTIONS = {
    "n": "negative",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "ss": "sampler",
}
_NAMES_ELSEWHERE = {
    "negative_prompt": "negative",
    "sample_steps": "steps",
    "scale": "guidance",
    "sample_sampler": "sampler",
}
_OF_OTHER_MODELS = {
    ("g", "guidance_scale"): "an embedded guidance, which neither SDXL nor SD 1.5 has; the guidance is --l",
    ("cn", "controlnet_image"): "a ControlNet's image, and none is trained here",
    ("ctr", "cfg_trunc_ratio"): "Lumina's truncated guidance",
    ("rcfg", "renorm_cfg"): "Lumina's renormalised guidance",
    ("fs", "flow_shift"): "a flow model's shift",
}
"""Options that sd-scripts reads for models of other families."""


Side = Annotated[int, Gt(0), Le(8192)]


@dataclass(frozen=True)
class Prompt:
    """One preview image. None uses the run's setting or, for a side, the data set's resolution.

    width and height are in pixels; seed is the noise's.
    """

    prompt: str
    negative: str = ""
    width: Side | None = None
    height: Side | None = None
    seed: Annotated[int, Ge(0), Le(0xFFFF_FFFF_FFFF_FFFF)] | None = None
    steps: Annotated[int, Gt(0), Le(1000)] | None = None
    guidance: Annotated[float, Ge(0), AllowInfNan(False)] | None = None
    sampler: Sampler | None = None


_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)

_LETTERS = "|".join(sorted({*_OPTIONS, *(names[0] for names in _OF_OTHER_MODELS)}, key=len, reverse=True))
_NUMBERED = "w|h|d|s|l"
_OTHER_DASH = "[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]"
_LOOK_ALIKES = (
    # any number and kind of dashes before an option's letter: -w 640, ---w 640, \u2014w 640, \u2013\u2013w640
    rf"(?<!\S)(?:-|{_OTHER_DASH})+(?:{_LETTERS})(?=[\s=\d]|$)",
    # two dashes directly after a word: a girl--w 512
    rf"(?<=\S)--(?:{_LETTERS})(?=[\s=\d]|$)",
    # another kind of dash directly after a word, before a number: a girl\u2014w 512
    rf"(?<=\S){_OTHER_DASH}+(?:{_NUMBERED})(?=[\s=]*\d)",
    # a space between the dashes and the letter: -- w 512
    rf"(?<!\S)(?:-{{1,2}}|{_OTHER_DASH})\s+(?:{_NUMBERED})(?=[\s=]+\d)",
)
_LOOK_ALIKE = re.compile("|".join(_LOOK_ALIKES), re.IGNORECASE)
"""Text that is meant as an option and would otherwise become part of the prompt."""


def parse_line(line: str, where: str) -> Prompt:
    """One prompt with its options; `where` names the line in an error message."""
    prompt, *options = re.split(r"(?:^|\s+)--(?=[A-Za-z])", line.strip())
    values: dict[str, str] = {"prompt": prompt}
    for option in options:
        letter, *rest = option.split(maxsplit=1)
        name = _OPTIONS.get(letter.lower())
        if name is None:
            _refuse_foreign(letter, f"--{letter}", where)
            known = ", ".join(f"--{known}" for known in _OPTIONS)
            raise UserError(KEY, where, f"no option --{letter}; there are {known}, each before a blank and its value")
        if name in values:
            raise UserError(KEY, where, f"says --{letter} twice; leave one out")
        values[name] = "".join(rest).strip()
    return _validated(values, where)


def parse_entry(entry: object, where: str) -> Prompt:
    """One prompt of a list: a line with options, or an object with at least `prompt`."""
    if isinstance(entry, str):
        return parse_line(entry, where)
    if not isinstance(entry, Mapping):
        raise UserError(KEY, where, f"{entry!r} is no prompt; give a line, or an object with at least `prompt`")
    values = {_NAMES_ELSEWHERE.get(str(key), str(key)): value for key, value in entry.items()}
    unknown = sorted(set(values) - set(Prompt.__dataclass_fields__))
    if unknown:
        _refuse_foreign(unknown[0], unknown[0], where)
        known = ", ".join(Prompt.__dataclass_fields__)
        raise UserError(KEY, where, f"no option {unknown[0]}; there are {known}")
    for name, value in values.items():
        if isinstance(value, bool):
            raise UserError(KEY, where, f"{name} {value!r}: true and false are no values of a prompt")
    return _validated(values, where)


def _refuse_foreign(name: str, shown: str, where: str) -> None:
    for names, meaning in _OF_OTHER_MODELS.items():
        if name.lower() in names:
            raise UserError(KEY, where, f"{shown} is {meaning}; leave it out")


def _validated(values: Mapping[str, Any], where: str) -> Prompt:
    try:
        prompt = _PROMPT.validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1]) or "prompt"
        raise UserError(KEY, where, f"{name} {first['input']!r}: {first['msg']}") from error
    for text in (prompt.prompt, prompt.negative):
        found = _LOOK_ALIKE.search(text)
        if found:
            letter = found[0].lstrip("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d").strip()
            mend = f'an option is a blank, two hyphens and its name; write " --{letter}", or leave it out'
            raise UserError(KEY, where, f'"{found[0].strip()}" would be part of the text: {mend}')
    return prompt
