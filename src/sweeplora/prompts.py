"""Sample prompts: one a line with options as sd-scripts writes them, or a list in TOML or JSON."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import TypeAdapter, ValidationError

from sweeplora.errors import UserError

Sampler = Literal[
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++",
    "dpmsingle", "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
]  # fmt: skip
"""Names of sd-scripts; `k_` changes nothing there and nothing here."""

_KEY = "sample.prompts"
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


@dataclass(frozen=True)
class Prompt:
    """One preview image; None leaves the value to the run's settings, a size to the model's own.

    width and height are pixels; seed is the noise's.
    """

    prompt: str
    negative: str = ""
    width: Annotated[int, Gt(0)] | None = None
    height: Annotated[int, Gt(0)] | None = None
    seed: Annotated[int, Ge(0)] | None = None
    steps: Annotated[int, Gt(0)] | None = None
    guidance: Annotated[float, Ge(0)] | None = None
    sampler: Sampler | None = None


_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a `.txt`, `.toml` or `.json` file, in order.

    A text file holds a prompt a line, options behind it as `--n --w --h --d --s --l --ss`, and `#` comments.
    JSON is a list of objects; TOML is sd-scripts' `[prompt]` with `[[prompt.subset]]`, what the former says
    holding for each of the latter. Raises UserError, with the place in the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(_KEY, path, f"not readable as UTF-8 text ({error.__class__.__name__})") from error
    match path.suffix.lower():
        case ".txt":
            prompts = _lines(text, path)
        case ".toml" | ".json":
            prompts = [_prompt(entry, f"{path}, prompt {i}") for i, entry in enumerate(_entries(text, path), 1)]
        case _:
            raise UserError(_KEY, path, "prompts come as .txt, .toml or .json")
    if not prompts:
        raise UserError(_KEY, path, "holds no prompt; write one a line, or choose sample=none")
    return prompts


def parse_line(line: str, where: str) -> Prompt:
    """One prompt with its options; `where` names the line in a complaint."""
    prompt, *options = re.split(r"(?:^|\s+)--(?=[A-Za-z])", line.strip())
    values: dict[str, str] = {"prompt": prompt}
    for option in options:
        letter, _, value = option.partition(" ")
        name = _OPTIONS.get(letter.lower())
        if name is None:
            known = ", ".join(f"--{known}" for known in _OPTIONS)
            raise UserError(_KEY, where, f"no option --{letter}; there are {known}")
        values[name] = value.strip()
    return _validated(values, where)


def _lines(text: str, path: Path) -> list[Prompt]:
    numbered = enumerate(text.splitlines(), 1)
    return [
        parse_line(line, f"{path}, line {number}")
        for number, line in numbered
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _entries(text: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise UserError(_KEY, path, f"cannot be parsed: {error}") from error
    if isinstance(content, dict):
        shared = content.get("prompt", {})
        if not isinstance(shared, dict):
            raise UserError(_KEY, path, "expected a table [prompt] with [[prompt.subset]] below it")
        subsets = shared.pop("subset", [])
        content = [{**shared, **subset} for subset in subsets] if isinstance(subsets, list) else None
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UserError(_KEY, path, "expected a list of prompts, each an object with at least `prompt`")
    return content


def _prompt(entry: Mapping[str, Any], where: str) -> Prompt:
    values = {_NAMES_ELSEWHERE.get(key, key): value for key, value in entry.items()}
    unknown = sorted(set(values) - set(Prompt.__dataclass_fields__))
    if unknown:
        known = ", ".join(Prompt.__dataclass_fields__)
        raise UserError(_KEY, where, f"no option {unknown[0]}; there are {known}")
    return _validated(values, where)


def _validated(values: Mapping[str, Any], where: str) -> Prompt:
    try:
        return _PROMPT.validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1]) or "prompt"
        raise UserError(_KEY, where, f"{name} {first['input']!r}: {first['msg']}") from error
