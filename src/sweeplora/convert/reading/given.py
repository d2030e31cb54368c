"""The words after a training script as sd-scripts' parser would read them, including its configuration file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeplora.config.nearest import nearest
from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.files import HERE, Files
from sweeplora.convert.reading.flags import FLAGS, ONLY_SDXL, Flag
from sweeplora.convert.reading.lycoris_preset import preset_of
from sweeplora.convert.reading.metadata_file import LinkedImages, captions_of, folder_of
from sweeplora.convert.reading.toml_file import toml
from sweeplora.errors import UserError

_WHOLE = {"whole", "count"}
_ALSO_IN_FILES: dict[str, tuple[str | int, ...]] = {"max_token_length": (75,), "dynamo_backend": ("no",)}
"""Values beside a flag's choices that work in a file, which sd-scripts does not check; GUIs write them."""
_OF_GUIS = (
    *("epoch", "noise_offset_type", "LoRA_type", "LyCORIS_preset", "sdxl", "lr_warmup", "max_resolution", "optimizer"),
    *("stop_text_encoder_training", "model_list", "sdxl_no_half_vae", "sdxl_cache_text_encoder_outputs", "use_wandb"),
    *("additional_parameters", "extra_accelerate_launch_args", "gpu_ids", "multi_gpu", "num_processes", "num_machines"),
    *("num_cpu_threads_per_process", "main_process_port", "model_train_type", "training_preset", "dynamo_mode"),
    *("dynamo_use_dynamic", "dynamo_use_fullgraph", "log_config_file", "huggingface_enabled"),
)
"""Keys of a GUI in a file of flags; the GUI has made flags of them, or they are about the GUI alone."""
_OFF_BY_FALSE = ("resume", "tokenizer_cache_dir", "lr_scheduler_type")
"""Flags for text of which sd-scripts only asks whether it is true."""
_GUI_MAX_TOKENS = 255
"""A GUI's default, which sd-scripts cuts into the three chunks of 225."""


_DASHES = {"\u2010": "a dash", "\u2013": "an en dash", "\u2014": "an em dash", "\u2212": "a minus sign"}


@dataclass(frozen=True)
class Given:
    """The value a command gives to every flag, and remarks on unusual usage."""

    family: str
    processes: int
    values: Mapping[str, Any]
    files: Files = HERE
    remarks: list[Entry] = field(default_factory=list)
    links: list[LinkedImages] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        """The value of a flag, or sd-scripts' default."""
        return self.values[name] if name in self.values else FLAGS[name].default

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def link(self, metadata: str, image_dir: str, separator: str, extension: str) -> str:
        """The folder of links that replaces a metadata file; it is created together with the sweep's file."""
        folder = folder_of(str(self["output_name"] or "last"), len(self.links))
        images = captions_of(metadata, image_dir, separator, self.files)
        dotted = extension if extension.startswith(".") else f".{extension}"
        self.links.append(LinkedImages(folder, dotted, images))
        return str(folder)

    def taken(self, name: str, key: str, value: Any, note: str = "") -> Entry:
        """An entry with the flag's value, given or sd-scripts' default."""
        return Entry(f"--{name}", "became" if name in self else "default", key, value, note)

    def unless_zero(self, name: str, key: str, why: str) -> list[Entry]:
        """Entries for a flag without effect at 0: its value, a note that it has none, or nothing if it is not given."""
        if self[name]:
            return [became(f"--{name}", key, self[name])]
        return [no_effect(f"--{name}", why)] if name in self else []


def read(family: str, processes: int, words: Sequence[str], files: Files = HERE) -> Given:
    """Parse words and `--config_file` into values; raises UserError for what sd-scripts' parser would refuse."""
    known = {name: flag for name, flag in FLAGS.items() if family == "sdxl" or name not in ONLY_SDXL}
    values, remarks = _from_words(words, known)
    if "config_file" in values:
        from_file, more = _from_file(str(values["config_file"]), known, files)
        values, remarks = {**from_file, **values}, [*more, *remarks]
    if values.get("output_config"):
        raise UserError("--output_config", True, "writes the flags into a file instead of training; leave it out")
    off = {name for name, value in values.items() if _says_nothing(name, value, known[name])}
    remarks += [no_effect(f"--{name}", "restates the default") for name in sorted(off)]
    kept = {name: value for name, value in values.items() if name not in off}
    if "caption_extention" in kept:
        kept["caption_extension"] = kept.pop("caption_extention")
        remarks.append(no_effect("--caption_extention", "the old spelling of --caption_extension, and overrides it"))
    if kept.get("network_module") == "lycoris.kohya":
        kept["network_args"], more = _preset_by_name(kept.get("network_args", []), files)
        remarks += more
    if not kept.get("network_args", True):
        del kept["network_args"]
    return Given(family, processes, kept, files, remarks)


def _preset_by_name(words: list[str], files: Files) -> tuple[list[str], list[Entry]]:
    """The arguments with a LyCORIS preset file replaced by a preset's name, and what was read."""
    found: list[str] = []
    remarks: list[Entry] = []
    for word in words:
        name, _, value = word.partition("=")
        if name == "preset" and value == "blocks":
            raise UserError("--network_args preset", value, "is not a LyCORIS preset")
        if name != "preset" or not value.lower().endswith(".toml"):
            found.append(word)
            continue
        preset = preset_of(value, files)
        found.append(f"preset={preset}")
        remarks.append(no_effect("--network_args preset", f"{value} selects the layers of the preset {preset}"))
    return found, remarks


def _says_nothing(name: str, value: Any, flag: Flag) -> bool:
    """Whether a value equals omitting the flag: no words, or an empty text unless that matters for the flag."""
    needed = name in ("output_name", "caption_extension", "caption_separator")
    return value is None or value is False or value == [] or (value == "" and flag.kind == "text" and not needed)


def _from_words(words: Sequence[str], known: Mapping[str, Flag]) -> tuple[dict[str, Any], list[Entry]]:
    values: dict[str, Any] = {}
    remarks: list[Entry] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word[:1] in _DASHES:
            mend = f"begins with {_DASHES[word[0]]} instead of two hyphens; write --{word.lstrip(''.join(_DASHES))}"
            raise UserError("convert", word, mend)
        if not word.startswith("--") or word == "--":
            remarks.append(Entry(word, "unknown", note="belongs to no flag; sd-scripts refuses it"))
            continue
        typed, joined, value = word[2:].partition("=")
        following = list(_until_next(words, index))
        name, remark = _name(typed, known)
        if name is None:
            remarks.append(remark._replace(value=value if joined else " ".join(following)))
            index += 0 if joined else len(following)
            continue
        remarks += [remark] if name != typed else []
        if name in values:
            remarks.append(no_effect(f"--{name}", f"given twice; the last one counts, not {values[name]!r}"))
        if known[name].kind == "switch":
            if joined:
                raise UserError(f"--{name}", value, "is a switch and takes no value; sd-scripts refuses it")
            values[name] = True
            continue
        several = known[name].kind in ("texts", "numbers")
        own = [value] if joined else following if several else following[:1]
        index += 0 if joined else len(own)
        if not own and not several:
            raise UserError(f"--{name}", "", "needs a value")
        values[name] = [_value(name, one, known[name]) for one in own] if several else _value(name, own[0], known[name])
    return values, remarks


def _until_next(words: Sequence[str], index: int) -> Sequence[str]:
    end = index
    while (
        end < len(words)
        and words[end][:1] not in _DASHES
        and (not words[end].startswith("-") or _is_number(words[end]))
    ):
        end += 1
    return words[index:end]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _name(typed: str, known: Mapping[str, Flag]) -> tuple[str | None, Entry]:
    """The flag that a word means: its full name or an abbreviation, as argparse allows."""
    if typed in known:
        return typed, Entry(f"--{typed}", "no effect")
    meant = [name for name in known if name.startswith(typed)]
    if len(meant) == 1:
        return meant[0], no_effect(f"--{typed}", f"short for --{meant[0]}")
    if meant:
        raise UserError(f"--{typed}", "", f"could be {', '.join(f'--{name}' for name in meant)}; write one out")
    return None, Entry(f"--{typed}", "unknown", note=nearest(typed, list(known)))


def _value(name: str, text: str, flag: Flag) -> Any:
    try:
        match flag.kind:
            case "whole":
                value: Any = int(text)
            case "number" | "numbers":
                value = float(text)
            case "count":
                value = _count(text)
            case _:
                value = text
    except (ValueError, OverflowError) as error:
        wanted = "a whole number" if flag.kind in _WHOLE else "a number"
        raise UserError(f"--{name}", text[:60], f"sd-scripts takes {wanted} here") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"--{name}", text[:60], "is not a finite number")
    if flag.choices and value not in flag.choices:
        raise UserError(f"--{name}", text, f"sd-scripts takes one of {', '.join(map(str, flag.choices))}")
    return value


def _count(text: str) -> float:
    """A number of steps, or a share of the total: below 1, or with a percent sign."""
    if text.endswith("%"):
        return float(text[:-1]) / 100
    return int(text) if float(text) >= 1 else float(text)


def _from_file(path: str, known: Mapping[str, Flag], files: Files) -> tuple[dict[str, Any], list[Entry]]:
    """A `--config_file`: its sections are merged; sd-scripts ignores names that are not flags."""
    path = path if path.endswith(".toml") else f"{path}.toml"
    table = toml(files.read(path, "--config_file"), "--config_file", path)
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    values: dict[str, Any] = {}
    remarks: list[Entry] = []
    for name, value in flat.items():
        if name in _OF_GUIS:
            remarks.append(no_effect(f"--{name}", f"in {path}: a key of the GUI, which sd-scripts ignores"))
        elif name not in known:
            note = f"in {path}: sd-scripts has no such flag and ignores it; {nearest(name, list(known))}"
            remarks.append(Entry(f"--{name}", "unknown", value=value, note=note))
        else:
            values[name] = _typed(name, value, known[name])
    return values, remarks


def _typed(name: str, value: Any, flag: Flag) -> Any:
    """A file's value as the flag's type; None if it has no effect. Raises UserError for a wrong type."""
    if flag.kind in ("texts", "numbers"):
        several = value if isinstance(value, list) else [value]
        return [_plain(name, one, flag) for one in several]
    if flag.kind == "switch":
        if not isinstance(value, bool):
            raise UserError(f"--{name}", _shown(value), "is a switch: write true or false")
        return value
    if value == "" and (flag.kind != "text" or flag.choices):
        return None
    if value is False and name in _OFF_BY_FALSE:
        return None
    if name == "max_token_length" and value == _GUI_MAX_TOKENS:
        return 225
    return _plain(name, value, flag._replace(choices=flag.choices + _ALSO_IN_FILES.get(name, ())))


def _plain(name: str, value: Any, flag: Flag) -> Any:
    if isinstance(value, bool | list | dict) or value is None:
        wanted = "text in quotes" if flag.kind in ("text", "texts") else "a number"
        raise UserError(f"--{name}", _shown(value), f"is to be {wanted}, or left out")
    return _value(name, str(value), flag)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
