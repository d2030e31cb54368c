"""The words in front of a training script: which script it is, and what its launcher was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sweeplora.convert.entries import Entry, aside, became, idle
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
    "main_process_port": "a free port is taken here",
    "main_process_ip": "one machine trains one run here",
    "machine_rank": "one machine trains one run here",
    "rdzv_backend": "one machine trains one run here",
    "rdzv_conf": "one machine trains one run here",
    "same_network": "one machine trains one run here",
    "quiet": "only about what is printed",
    "debug": "only about what is printed",
    "enable_cpu_affinity": "only about speed",
    "standalone": "one machine trains one run here",
}
_NOT_HERE = {
    "use_deepspeed": "DeepSpeed is not supported; every process holds the whole network, as with plain accelerate",
    "use_fsdp": "the network is not sharded; it is small",
    "use_megatron_lm": "not supported",
    "gpu_ids": "set CUDA_VISIBLE_DEVICES before the command",
    "num_processes_per_machine": "not supported",
}


@dataclass(frozen=True)
class Command:
    """One training command: the script's name, the words after it, and those in front."""

    script: str
    family: str
    words: tuple[str, ...]
    launcher: tuple[str, ...]


def find(commands: Sequence[Sequence[str]]) -> list[Command]:
    """The commands that train; raises UserError where there is none, naming a script that cannot be converted."""
    found = [command for words in commands if (command := _command(words)) is not None]
    others = [Path(word).name for words in commands for word in words if word.endswith(".py")]
    if not found:
        named = others[0] if others else " ".join(" ".join(words) for words in commands)[:60]
        mend = f"only {' and '.join(FAMILIES)} can be converted"
        raise UserError("convert", named, mend if others else f"no training script is named; {mend}")
    return found


def launched(words: Sequence[str]) -> tuple[int, list[Entry]]:
    """How many processes the launcher starts, and what became of each of its options."""
    options = _options(words)
    entries = [_entry(name, value) for name, value in options.items() if name not in ("num_processes", "multi_gpu")]
    count, more = _processes(options)
    return count, [*more, *(entry for entry in entries if entry is not None)]


def _command(words: Sequence[str]) -> Command | None:
    for index, word in enumerate(words):
        name = word.replace("\\", "/").rpartition("/")[2]
        if name in FAMILIES or (f"{name}.py" in FAMILIES and "-m" in words[:index]):
            script = name if name in FAMILIES else f"{name}.py"
            return Command(script, FAMILIES[script], tuple(words[index + 1 :]), tuple(words[:index]))
    return None


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


def _processes(options: dict[str, str | None]) -> tuple[int, list[Entry]]:
    given = options.get("num_processes")
    if given is None:
        return _unknown_processes(options)
    if not given.isdigit() or int(given) < 1:
        raise UserError("--num_processes", given, "give the number of processes of the training")
    count = int(given)
    entries = [became("launch --num_processes", "launcher.processes_per_trial", count)]
    if "multi_gpu" in options:
        entries.append(idle("launch --multi_gpu", "the number of processes says it"))
    return count, entries


def _unknown_processes(options: dict[str, str | None]) -> tuple[int, list[Entry]]:
    path = options.get("config_file")
    if path and Path(path).is_file():
        said = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        count = said.get("num_processes") if isinstance(said, dict) else None
        if isinstance(count, int) and count > 0:
            return count, [became("launch --config_file", "launcher.processes_per_trial", count)]
    note = "the number of processes is not in the command; one is assumed. With more, give "
    note += "launcher.processes_per_trial=N and train.batch_size=N times as many"
    if "multi_gpu" in options:
        return 1, [became("launch --multi_gpu", "launcher.processes_per_trial", 1, note)]
    if path:
        return 1, [became("launch --config_file", "launcher.processes_per_trial", 1, f"not found here; {note}")]
    return 1, [Entry("launch --num_processes", "default", "launcher.processes_per_trial", 1, note)]


def _entry(name: str, value: str | None) -> Entry | None:
    flag = f"launch --{name}"
    if name in ("m", "module", "c", "u", "config_file"):
        return None
    if name == "num_machines":
        if value not in (None, "1"):
            raise UserError("--num_machines", value, "a training runs on one machine here")
        return idle(flag, "one machine trains one run here")
    if name == "num_cpu_threads_per_process" and value is not None and value.isdigit():
        return became(flag, "launcher.threads", int(value))
    if name in ("cpu", "use_cpu"):
        return became(flag, "launcher.device", "cpu")
    if name.startswith("dynamo"):
        return idle(flag, "the script hands its own choice to accelerate: see --torch_compile and --dynamo_backend")
    if name in _IDLE:
        return idle(flag, _IDLE[name])
    return aside(flag, _NOT_HERE.get(name, "an option of the launcher that has no counterpart here"))
