"""The words before a training script: which script it is, and its launcher's options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweeplora.convert.entries import Entry, aside, became, missing, no_effect
from sweeplora.convert.reading.files import HERE, Files
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.text import Script, ScriptCommand
from sweeplora.errors import UserError

FAMILIES = {"sdxl_train_network.py": "sdxl", "train_network.py": "sd15"}
"""The scripts that can be converted, and the family each trains."""

_SAME_NAME = {"nproc_per_node": "num_processes", "nnodes": "num_machines"}
_WITHOUT_VALUE = (
    "multi_gpu cpu tpu ipex mps use_deepspeed use_fsdp use_megatron_lm use_xpu use_tpu debug quiet module m no_python "
    "same_network static enable_cpu_affinity dynamo_use_fullgraph dynamo_use_dynamic dynamo_use_regional_compilation "
    "use_mps_device tpu_use_cluster no_tpu_cluster tpu_use_sudo u"
)
"""Options of accelerate that take no value."""
_IDLE = {
    "mixed_precision": "the script hands its own --mixed_precision to accelerate, and that wins ('no' where not given)",
    "gradient_accumulation_steps": "the script hands its own to accelerate",
    "main_process_port": "sweeplora picks a free port",
    "main_process_ip": "sweeplora trains a run on one machine",
    "machine_rank": "sweeplora trains a run on one machine",
    "rdzv_backend": "sweeplora trains a run on one machine",
    "rdzv_conf": "sweeplora trains a run on one machine",
    "same_network": "sweeplora trains a run on one machine",
    "quiet": "only changes what is printed",
    "debug": "only changes what is printed",
    "enable_cpu_affinity": "only about speed",
    "standalone": "sweeplora trains a run on one machine",
}
_NOT_HERE = {
    "use_deepspeed": "DeepSpeed is not supported; every process holds the whole network",
    "use_fsdp": "the network is not sharded; it is small",
    "use_megatron_lm": "not supported",
    "gpu_ids": "set CUDA_VISIBLE_DEVICES before the command",
    "num_processes_per_machine": "not supported",
}


_INTERPRETERS = re.compile(
    r"(python[\d.]*|py|accelerate|torchrun|deepspeed|accelerate-launch|ipex|ipexrun)(\.exe)?$", re.IGNORECASE
)
_SAYING = ("echo", "printf", "cat", "grep", "pgrep", "pkill", "ls", "[", "test", "which", "write-host", "write-output")
"""Commands whose words are only said or looked for."""


@dataclass(frozen=True)
class Command:
    """One training command: the script's name, the words after and before it, and the files it can see."""

    script: str
    family: str
    words: tuple[str, ...]
    launcher: tuple[str, ...]
    files: Files = HERE
    remarks: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Training:
    """A training command in a script; some of its words may be unknown."""

    command: ScriptCommand
    at: int
    script: str

    @property
    def shown(self) -> list[str]:
        """The words after the script's name, as far as they are known."""
        return [word.text for word in self.command.words[self.at + 1 :]]


def find(reading: Reading) -> list[Training]:
    """The commands that train. Raises UserError if there is none, saying why, and if one is split in two."""
    found = [training for command in reading.commands if (training := _training(command)) is not None]
    if not found:
        raise _nothing(reading)
    first = next(index for index, command in enumerate(reading.commands) if command is found[0].command)
    for command in reading.commands[first + 1 :]:
        if command.words and re.match(r"[-\u2013\u2014]", command.words[0].text):
            raise _torn(reading.script, command)
    return found


def settle(training: Training, script: Script) -> Command:
    """The training with plain words. Raises UserError for a word that is only known when the script runs.

    The folder of the training script may be unknown, since nothing depends on it.
    """
    command = training.command
    if command.cut:
        mend = f"an unquoted {command.cut} ends the command here; put the value into quotes"
        raise script.error(command.line, f"{command.words[-1].text}{command.cut}...", mend)
    for index, word in enumerate(command.words):
        for unknown in word.unknowns if index != training.at else ():
            told = unknown.line in (0, command.line) or f"line {unknown.line}" in unknown.why
            place = "" if told else f" (line {unknown.line})"
            raise script.error(command.line, word.text, f"{unknown.name} {unknown.why}{place}; write its value out")
        if word.text and not word.text.strip():
            mend = "a blank after the backslash or backtick ends the line"
            raise script.error(command.line, repr(word.text), mend)
        if re.search(r"(^|=)[\u201c\u201d\u2018\u2019\u201e]", word.text):
            raise script.error(
                command.line, word.text, "curly quotation marks are plain text to a shell; write \" or '"
            )
        if name := re.search(r"(?<!\$)\{([A-Za-z_]\w*)\}", word.text):
            mend = f"{name[0]} is a Python variable, as in notebooks; write its value out"
            raise script.error(command.line, word.text, mend)
    words = tuple(word.text for word in command.words)
    family = FAMILIES[training.script]
    files = Files.of(command, script.file)
    return Command(training.script, family, words[training.at + 1 :], words[: training.at], files)


def _training(command: ScriptCommand) -> Training | None:
    words = [word.text for word in command.words]
    if not words or words[0].lower() in _SAYING:
        return None
    for index, word in enumerate(words):
        name = word.replace("\\", "/").rpartition("/")[2]
        script = name if name in FAMILIES else f"{name}.py" if "-m" in words[:index] else ""
        if script in FAMILIES and _starts(command, index):
            return Training(command, index, script)
    return None


def _starts(command: ScriptCommand, index: int) -> bool:
    """Whether the words before the script's name run it."""
    if index == 0:
        return True
    front = command.words[:index]
    return any(word.unknowns or _INTERPRETERS.fullmatch(re.split(r"[/\\]", word.text)[-1]) for word in front)


def _nothing(reading: Reading) -> UserError:
    script = reading.script
    only = f"only {' and '.join(FAMILIES)} can be converted"
    for command in reading.commands:
        for word in command.words:
            if word.unknowns and any(name in word.text for name in FAMILIES):
                unknown = word.unknowns[0]
                return script.error(command.line, word.text, f"{unknown.name} {unknown.why}; write the command out")
    others = [
        (_starts(command, index), Path(word.text.replace("\\", "/")).name)
        for command in reading.commands
        for index, word in enumerate(command.words)
        if word.text.endswith(".py") and command.words[0].text.lower() not in _SAYING
    ]
    if others:
        return UserError("convert", max(others, key=lambda other: other[0])[1][:80], only)
    named = next((name for name in FAMILIES if re.search(rf"(?<!\w){re.escape(name)}", script.text)), "")
    if named and reading.stopped is not None:
        return script.error(reading.stopped, "exit", f"the script ends here, and {named} is never started")
    if named and reading.uncalled:
        return UserError("convert", named, f"is in a function that is never called: {', '.join(reading.uncalled)}")
    if named:
        mend = "is named in it and never started; give the command: convert -- accelerate launch ..."
        return UserError("convert", named, mend)
    said = " ".join(" ".join(word.text for word in command.words) for command in reading.commands)[:60]
    return UserError("convert", said, f"no training script is named; {only}")


def _torn(script: Script, command: ScriptCommand) -> UserError:
    """A line of flags without its command, and what cut it off."""
    lines = script.text.split("\n")
    before = lines[command.line - 2].rstrip("\n") if 1 < command.line <= len(lines) + 1 else ""
    mend = "begins a command of its own: the line before it does not continue"
    if before.strip().startswith(("#", "::", "rem ", "REM ")):
        mend = f"is cut off from the command by the comment on line {command.line - 1}; take the comment out"
    elif not before.strip():
        mend = f"is cut off from the command by the empty line {command.line - 1}; take that line out"
    elif re.search(r"[\\^`][ \t]+$", before):
        mend = f"is cut off: a blank follows the {before.rstrip()[-1]} at the end of line {command.line - 1}"
    return script.error(command.line, " ".join(word.text for word in command.words)[:60], mend)


def launched(words: Sequence[str], files: Files) -> tuple[int, list[Entry]]:
    """The number of processes that the launcher starts, and what became of each of its options."""
    options = _options(words)
    entries = [_entry(name, value) for name, value in options.items() if name not in ("num_processes", "multi_gpu")]
    count, more = _processes(options, files)
    return count, [*more, *(entry for entry in entries if entry is not None)]


def _options(words: Sequence[str]) -> dict[str, str | None]:
    """The launcher's options by name; None for one without a value."""
    found: dict[str, str | None] = {}
    index = 0
    while index < len(words):
        name, joined, value = words[index].lstrip("-").partition("=")
        name = name.replace("-", "_")
        index += 1
        if not words[index - 1].startswith("-"):
            continue
        following = index < len(words) and not words[index].startswith("-")
        if not joined and name not in _WITHOUT_VALUE.split() and following:
            value, joined = words[index], "="
            index += 1
        found[_SAME_NAME.get(name, name)] = value if joined else None
    return found


def _processes(options: dict[str, str | None], files: Files) -> tuple[int, list[Entry]]:
    given = options.get("num_processes")
    if given is None:
        return _unknown_processes(options, files)
    if not given.isdigit() or int(given) < 1:
        raise UserError("--num_processes", given, "give the number of processes of the training")
    count = int(given)
    entries = [became("launch --num_processes", "launcher.processes_per_trial", count)]
    if "multi_gpu" in options:
        entries.append(no_effect("launch --multi_gpu", "the number of processes says it"))
    return count, entries


def _unknown_processes(options: dict[str, str | None], files: Files) -> tuple[int, list[Entry]]:
    path = options.get("config_file")
    if path and files.find(path) is not None:
        said = _yaml(files.read(path, "launch --config_file"), path)
        count = said.get("num_processes") if isinstance(said, dict) else None
        if isinstance(count, int) and count > 0:
            return count, [became("launch --config_file", "launcher.processes_per_trial", count)]
    note = "the number of processes is not in the command; one is assumed. With more, give "
    note += "launcher.processes_per_trial=N and train.batch_size=N times as many"
    if "multi_gpu" in options:
        one = Entry("launch --num_processes", "default", "launcher.processes_per_trial", 1, note)
        return 1, [one, missing("launch --multi_gpu", note)]
    if path:
        return 1, [became("launch --config_file", "launcher.processes_per_trial", 1, f"not found here; {note}")]
    return 1, [Entry("launch --num_processes", "default", "launcher.processes_per_trial", 1, note)]


def _entry(name: str, value: str | None) -> Entry | None:
    flag = f"launch --{name}"
    if name in ("m", "module", "c", "u", "config_file"):
        return None
    if name == "num_machines":
        if value not in (None, "1"):
            raise UserError("--num_machines", value, "sweeplora trains a run on one machine")
        return no_effect(flag, "sweeplora trains a run on one machine")
    if name == "num_cpu_threads_per_process" and value is not None and value.isdigit():
        return became(flag, "launcher.threads", int(value))
    if name in ("cpu", "use_cpu"):
        return became(flag, "launcher.device", "cpu")
    if name.startswith("dynamo"):
        return no_effect(
            flag, "the script hands its own choice to accelerate: see --torch_compile and --dynamo_backend"
        )
    if name in _IDLE:
        return no_effect(flag, _IDLE[name])
    return aside(flag, _NOT_HERE.get(name, "an option of the launcher that sweeplora does not have"))


def _yaml(data: bytes, path: str) -> Any:
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError("launch --config_file", path, "is not the YAML that accelerate expects") from error
