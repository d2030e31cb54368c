"""The subsets of a `--dataset_config`: what all share, what differs, and which table keys have no effect."""

from __future__ import annotations

from typing import Any

from sweeplora.convert.dataset.treatment import NO_USE, NOT_HERE, SAME, Treated, treated
from sweeplora.convert.entries import Entry, became, missing, no_effect
from sweeplora.convert.reading.dataset_file import Source, tables
from sweeplora.convert.reading.dataset_schema import DATASET_WIDE, FLAG_OF, OF_IMAGES
from sweeplora.convert.reading.flags import FLAGS
from sweeplora.convert.reading.given import Given


def prior_weight(given: Given, has_reg: bool) -> list[Entry]:
    if has_reg:
        return [given.taken("prior_loss_weight", "data.prior_loss_weight", given["prior_loss_weight"])]
    unused = "prior_loss_weight" in given
    return [no_effect("--prior_loss_weight", "there are no regularisation images")] if unused else []


def written(part: Treated) -> list[Entry]:
    return [
        Entry(source or _default_flag(key), "became" if source else "default", f"data.{key}", value)
        for key, (value, source) in part.keys.items()
    ]


def _default_flag(key: str) -> str:
    named = {"bucket": "enable_bucket", "bucket_min": "min_bucket_reso", "bucket_max": "max_bucket_reso"}
    named |= {"bucket_step": "bucket_reso_steps"}
    return f"--{named.get(key, key)}"


def subsets(given: Given, sources: list[Source], parts: list[Treated]) -> list[Entry]:
    """The file's subsets: the group's values that all share, and what differs for each."""
    reg = any(source.own.get("is_reg") for source in sources)
    if len(sources) == 1 and not reg:
        folder = became(f"{sources[0].levels[0].name} image_dir", "data.dir", sources[0].own["image_dir"], _BELOW)
        return [
            became("--dataset_config", "", given["dataset_config"], "data"),
            folder,
            *written(parts[0]),
            *prior_weight(given, False),
        ]
    same = {
        key: value
        for key, value in parts[0].keys.items()
        if all(part.keys.get(key, (None,))[0] == value[0] for part in parts)
    }
    subsets: list[dict[str, Any]] = []
    entries: list[Entry] = []
    for index, (source, part) in enumerate(zip(sources, parts, strict=True)):
        name = source.levels[0].name
        subset = {"dir": source.own["image_dir"]}
        entries.append(became(f"{name} image_dir", "", subset["dir"], f"data.subsets[{index}].dir"))
        if source.own.get("is_reg") is not None:
            subset["is_reg"] = source.own["is_reg"]
            entries.append(became(f"{name} is_reg", "", subset["is_reg"], f"data.subsets[{index}].is_reg"))
        for key, (value, where) in part.keys.items():
            if key not in same:
                subset[key] = value
                flag = where or _default_flag(key)
                entries.append(Entry(flag, "became", "", value, f"data.subsets[{index}].{key}"))
        subsets.append(subset)
    note = (
        "regularisation images are balanced over all subsets; sd-scripts balances each dataset by itself" if reg else ""
    )
    return [
        became("--dataset_config", "data.subsets", subsets, note),
        *written(Treated(same, {})),
        *entries,
        *prior_weight(given, reg),
    ]


LINKED = "data.dir: a folder of links to its images, with their captions beside"
_BELOW = "sd-scripts reads only the images directly in it; sweeplora also reads its sub-folders"


def rest_of_tables(sources: list[Source], taken: list[Entry]) -> list[Entry]:
    """Every key of the file that became no value, with the reason."""
    used = {entry.flag for entry in taken}
    idles = _idles(sources)
    counted = {source.value(option)[1] for source in sources for option in OF_IMAGES}
    entries: list[Entry] = []
    for table in tables(sources):
        for option in table.content:
            flag = f"{table.name} {option}".strip()
            if flag in used or option in DATASET_WIDE or (option == "is_reg" and not table.content[option]):
                continue
            if option == "metadata_file":
                entries.append(became(flag, "", table.content[option], LINKED))
            elif option in NOT_HERE:
                entries.append(missing(flag, NOT_HERE[option]))
            elif option in NO_USE:
                entries.append(no_effect(flag, NO_USE[option]))
            elif option in idles:
                entries.append(no_effect(flag, idles[option]))
            elif flag in counted:
                key = SAME.get(option, option)
                entries.append(became(flag, "", table.content[option], f"data.{key}, the same for all subsets"))
            else:
                entries.append(no_effect(flag, "overridden by a table closer to each subset"))
    return entries


def _idles(sources: list[Source]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in sources:
        found |= treated({option: source.value(option) for option in OF_IMAGES}, source.said()).no_effect
    return found


def unused_flags(given: Given, sources: list[Source], taken: list[Entry]) -> list[Entry]:
    """Flags of these options that became no value, with the reason."""
    used = {entry.flag for entry in taken}
    idles = {**_idles(sources), **NO_USE}
    entries: list[Entry] = []
    for option in (*OF_IMAGES, *NO_USE, *NOT_HERE):
        name = FLAG_OF.get(option, option)
        if name not in FLAGS or name not in given or f"--{name}" in used:
            continue
        if option in NOT_HERE:
            entries.append(missing(f"--{name}", NOT_HERE[option]))
        elif option in sources[0].unread:
            folder = "--train_data_dir has the number of repeats in its folders' names"
            note = folder if option == "num_repeats" else "sd-scripts reads it in a dataset's file only"
            entries.append(no_effect(f"--{name}", note))
        else:
            entries.append(no_effect(f"--{name}", idles.get(option, "overridden by the tables of the file")))
    if "dataset_config" in given:
        names = [name for name in ("train_data_dir", "reg_data_dir") if name in given]
        entries += [no_effect(f"--{name}", "overridden by the dataset's file") for name in names]
    return entries
