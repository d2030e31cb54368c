"""What a weights file is: facts from its run folder, or from the metadata that sd-scripts and sweeplora write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sweeplora.report.origin import Origin
from sweeplora.report.progress import progress_of
from sweeplora.report.said_data import said_batch_size, said_folders, said_resolution, said_start, said_tags
from sweeplora.report.siblings import differences, rank_of, shown_differences
from sweeplora.report.summaries import display_name, run_summary, shown_size, study_summary
from sweeplora.report.words import near, number
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.places import is_study
from sweeplora.rundir.yaml_text import read_yaml

_CLUES = {
    "content": "its content",
    "tensors": "its tensors: the metadata was changed",
    "signature": "the signature in it; no file in the folder has this content (any more)",
    "metadata": "its metadata alone: no folder here knows it",
    "nothing": "nothing: it has no metadata, and no folder here knows it",
}
_DIGITS = 12
_NOTHING: tuple[Any, ...] = (None, "", "None", [], {})


def facts_of(origin: Origin) -> dict[str, Any]:
    """Everything known about a weights file, by name and in the order to show it, as JSON data; unknown is left out."""
    told: dict[str, Any] = {
        "file": str(origin.file),
        "size": origin.size,
        "sha256": origin.sha256,
        "found_by": origin.clue,
        "damage": origin.damage,
        "written_by": _writer(origin.told),
    }
    run = _run_facts(origin) if origin.folders else {}
    known = {key: value for key, value in _metadata_facts(origin.told).items() if value not in _NOTHING}
    if origin.damage is None:
        del told["damage"]
    return {**told, **run, **{key: value for key, value in known.items() if key not in run}}


def shown_facts(facts: Mapping[str, Any]) -> list[str]:
    """The facts as lines for a terminal."""
    rows = [
        ("file", f"{facts['file']} ({shown_size(facts['size'])}, sha256 {facts['sha256'][:_DIGITS]}…)"),
        ("found by", _CLUES[facts["found_by"]]),
    ]
    if "damage" in facts:
        unknown = facts["found_by"] == "nothing"
        rows[1:] = [("damage", f"it {facts['damage']}"), *([] if unknown else rows[1:])]
    hidden = {"file", "size", "sha256", "found_by", "damage"}
    rows += [
        (key.replace("_", " "), line) for key, value in facts.items() if key not in hidden for line in _shown(value)
    ]
    width = max(len(name) for name, _ in rows)
    lines, before = [], ""
    for name, line in rows:
        lines.append(f"{'' if name == before else name:<{width}}  {line}".rstrip())
        before = name
    return lines


def _shown(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [" ".join(f"{key}={number(one, 'null')}" for key, one in value.items())]
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [number(value)]


def _run_facts(origin: Origin) -> dict[str, Any]:
    folder = origin.folders[0]
    run = run_summary(folder)
    told: dict[str, Any] = {"run": str(near(folder)), "name": display_name(run), "state": run.state}
    if origin.twin is not None and not origin.twin.samefile(origin.file):
        told["same_as"] = str(near(origin.twin))
    study = study_summary(folder.parent) if is_study(folder.parent) else None
    if study is not None:
        told |= {"study": study.name, "trial": run.number, "repetition": run.replicate, "swept": dict(run.params)}
    told["signature"] = run.signature or origin.signature
    told |= progress_of(origin)
    if study is not None:
        rank = rank_of(study, run)
        if rank is not None:
            told["rank"] = f"{rank[0]} of {rank[1]} by {', '.join(study.objectives)}"
        told["differs"] = shown_differences(differences(study, run))
    told["base_model"] = _base_model(folder, origin.told)
    if len(origin.folders) > 1:
        told["also_in"] = [str(near(path)) for path in origin.folders[1:]]
    return {key: value for key, value in told.items() if value not in (None, [], {})}


def _base_model(folder: Path, metadata: Mapping[str, str]) -> str | None:
    name, digest = metadata.get("ss_sd_model_name"), metadata.get("ss_new_sd_model_hash")
    if not name:
        try:
            config = read_yaml(RunDir(folder).config.read_bytes())
            name = Path(config["model"]["path"]).name
        except (OSError, KeyError, TypeError, yaml.YAMLError):
            return None
    return f"{name} (sha256 {digest[:_DIGITS]}…)" if digest else str(name)


def _writer(metadata: Mapping[str, str]) -> str | None:
    if "sweeplora.signature" in metadata:
        return "sweeplora"
    if "ss_sd_scripts_commit_hash" in metadata or "ss_network_module" in metadata:
        commit = metadata.get("ss_sd_scripts_commit_hash", "")
        return f"sd-scripts {commit[:_DIGITS]}".strip() if commit != "(unknown)" else "sd-scripts"
    return metadata.get("modelspec.implementation")


def _metadata_facts(said: Mapping[str, str]) -> dict[str, Any]:
    """What a file says about itself, in sd-scripts' `ss_*` and Stability AI's `modelspec.*` keys."""

    def of(first: str, second: str) -> str | None:
        value, total = said.get(first), said.get(second)
        return f"{value} of {total}" if value and total else value

    digest = said.get("ss_new_sd_model_hash") or said.get("ss_sd_model_hash") or ""
    name = said.get("ss_sd_model_name") or said.get("ss_base_model_version")
    return {
        "signature": said.get("sweeplora.signature"),
        "title": said.get("ss_output_name") or said.get("modelspec.title"),
        "epoch": of("ss_epoch", "ss_num_epochs"),
        "step": of("ss_steps", "ss_max_train_steps"),
        "network": _network(said),
        "rates": _present(said, {"learning_rate": "lr", "unet_lr": "unet", "text_encoder_lr": "text_encoder"}),
        "optimizer": said.get("ss_optimizer"),
        "scheduler": said.get("ss_lr_scheduler"),
        "seed": said.get("ss_seed"),
        "images": said.get("ss_num_train_images"),
        "data": said_folders(said),
        "tags": said_tags(said),
        "resolution": said_resolution(said),
        "batch_size": said_batch_size(said),
        "base_model": f"{name} (hash {digest[:_DIGITS]}…)" if name and digest else name,
        "started": said_start(said),
        "comment": said.get("ss_training_comment"),
    }


def _network(said: Mapping[str, str]) -> str | None:
    parts = _present(
        said, {"network_module": "", "network_dim": "dim", "network_alpha": "alpha", "network_args": "args"}
    )
    return " ".join(f"{key} {value}".strip() for key, value in parts.items()) or None


def _present(said: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    found = {shown: said.get(f"ss_{key}") for key, shown in names.items()}
    return {key: value for key, value in found.items() if value not in (None, "", "None")}
