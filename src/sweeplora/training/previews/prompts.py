"""Sample prompts: one a line with options as sd-scripts writes them, or a list in TOML or JSON."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from pydantic import TypeAdapter, ValidationError

from sweeplora.errors import UserError
from sweeplora.training.previews.samplers import Sampler, check_from_pure_noise, check_sampler

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
_OF_OTHER_MODELS = {
    ("g", "guidance_scale"): "an embedded guidance, which neither SDXL nor SD 1.5 has; the guidance is --l",
    ("cn", "controlnet_image"): "a ControlNet's image, and none is trained here",
    ("ctr", "cfg_trunc_ratio"): "Lumina's truncated guidance",
    ("rcfg", "renorm_cfg"): "Lumina's renormalised guidance",
    ("fs", "flow_shift"): "a flow model's shift",
}
"""What sd-scripts also reads, for models of other families."""


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
    steps: Annotated[int, Gt(0), Le(1000)] | None = None
    guidance: Annotated[float, Ge(0)] | None = None
    sampler: Sampler | None = None


_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a `.txt`, `.toml` or `.json` file, in order.

    A text file holds a prompt a line, options behind it as `--n --w --h --d --s --l --ss`, and `#` comments.
    JSON is a list of objects or of such lines; TOML is sd-scripts' `[prompt]` with `[[prompt.subset]]`, what the
    former says holding for each of the latter. Raises UserError, with the place in the file.
    """
    if not path.is_file():
        raise UserError(_KEY, path, "not readable: there is no such file; write one prompt a line into a .txt")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(_KEY, path, f"not readable as UTF-8 text ({error.__class__.__name__})") from error
    match path.suffix.lower():
        case ".txt":
            prompts = _lines(text, path)
        case ".toml" | ".json":
            numbered = enumerate(_entries(text, path), 1)
            prompts = [_entry(entry, f"{path}, prompt {number}") for number, entry in numbered]
        case _:
            raise UserError(_KEY, path, "prompts come as .txt, .toml or .json")
    if not prompts:
        raise UserError(_KEY, path, "holds no prompt; write one a line, or choose sample=none")
    return prompts


def check_prompts(
    prompts: Sequence[Prompt], sampler: Sampler, steps: int, karras: bool, from_pure_noise: bool = False
) -> None:
    """Raise UserError for a prompt whose sampler or steps do not go with the settings that hold where it says none.

    `from_pure_noise`: the model has zero terminal SNR.
    """
    for prompt in prompts:
        says = prompt.sampler is not None or prompt.steps is not None
        whose = f'the prompt "{prompt.prompt}" asks for it: ' if says else ""
        check_sampler(prompt.sampler or sampler, prompt.steps or steps, karras, whose)
        if from_pure_noise:
            check_from_pure_noise(prompt.sampler or sampler, prompt.steps or steps, karras, whose)


def idle(num_prompts: int, num_processes: int) -> str | None:
    """The line that says how many processes wait at the end of every preview; None where none does."""
    waiting = -num_prompts % num_processes
    if not waiting:
        return None
    return (
        f"{num_prompts} sample prompts over {num_processes} processes: {waiting} of them wait while the last "
        f"{num_processes - waiting} are drawn; {num_prompts + waiting} prompts would take no longer"
    )


def parse_line(line: str, where: str) -> Prompt:
    """One prompt with its options; `where` names the line in a complaint."""
    prompt, *options = re.split(r"(?:^|\s+)--(?=[A-Za-z])", line.strip())
    values: dict[str, str] = {"prompt": prompt}
    for option in options:
        letter, _, value = option.partition(" ")
        name = _OPTIONS.get(letter.lower())
        if name is None:
            _refuse_foreign(letter, f"--{letter}", where)
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


def _entries(text: str, path: Path) -> list[Mapping[str, Any] | str]:
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
    if not isinstance(content, list) or not all(isinstance(entry, dict | str) for entry in content):
        raise UserError(_KEY, path, "expected a list of prompts, each a line or an object with at least `prompt`")
    return content


def _entry(entry: Mapping[str, Any] | str, where: str) -> Prompt:
    if isinstance(entry, str):
        return parse_line(entry, where)
    values = {_NAMES_ELSEWHERE.get(key, key): value for key, value in entry.items()}
    unknown = sorted(set(values) - set(Prompt.__dataclass_fields__))
    if unknown:
        _refuse_foreign(unknown[0], unknown[0], where)
        known = ", ".join(Prompt.__dataclass_fields__)
        raise UserError(_KEY, where, f"no option {unknown[0]}; there are {known}")
    return _validated(values, where)


def _refuse_foreign(name: str, shown: str, where: str) -> None:
    for names, meaning in _OF_OTHER_MODELS.items():
        if name.lower() in names:
            raise UserError(_KEY, where, f"{shown} is {meaning}; leave it out")


def _validated(values: Mapping[str, Any], where: str) -> Prompt:
    try:
        return _PROMPT.validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1]) or "prompt"
        raise UserError(_KEY, where, f"{name} {first['input']!r}: {first['msg']}") from error
