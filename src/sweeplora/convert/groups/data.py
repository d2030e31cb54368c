"""Flags about images and captions, and the batch."""

from __future__ import annotations

from pathlib import Path

from sweeplora.convert.dataset.subsets import LINKED, prior_weight, rest_of_tables, subsets, unused_flags, written
from sweeplora.convert.dataset.treatment import Treated, treated
from sweeplora.convert.dataset.validation import validation
from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.dataset_file import Source, Table, one_for_all, read
from sweeplora.convert.reading.dataset_schema import FLAG_OF, OF_IMAGES
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.trained_parts import trains_text_encoders
from sweeplora.errors import UserError

_FOLDER = "sd-scripts reads only sub-folders named N_name; sweeplora reads all images below the folder"
_RANDOM = (
    *("shuffle_caption", "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate"),
    *("token_warmup_step", "enable_wildcard"),
)


def entries(given: Given) -> list[Entry]:
    """The group `data`, the batch, and validation."""
    if "dataset_class" in given:
        raise UserError("--dataset_class", given["dataset_class"], "a dataset class of your own is not supported")
    path = given["dataset_config"]
    sources = read(path, given) if path else [Source((Table("", {}),), given)]
    parts = [treated({option: source.value(option) for option in OF_IMAGES}, source.said()) for source in sources]
    shared = [*subsets(given, sources, parts)] if path else [*_folder(given, parts[0])]
    batch, batch_entry = _batch(given, sources)
    split, split_source = one_for_all(sources, "validation_split")
    entries = [
        Entry("", "default", "data", "folder"),
        *shared,
        *rest_of_tables(sources, shared),
        *unused_flags(given, sources, shared),
        batch_entry,
        *_held_out(split, split_source),
        *_overruled(given, sources),
        *_masks(given, sources),
        *_caches(given, sources),
    ]
    return [*entries, *validation(given, split or 0.0, batch), *_seeded(given, sources, split)]


def _folder(given: Given, part: Treated) -> list[Entry]:
    """`--train_data_dir` and `--reg_data_dir`, handled alike."""
    folder = given["train_data_dir"]
    if "in_json" in given:
        linked = given.link(given["in_json"], folder or "", given["caption_separator"], given["caption_extension"])
        entries = [became("--in_json", "data.dir", linked, LINKED)]
        names = [name for name in ("train_data_dir", "reg_data_dir") if name in given]
        entries += [no_effect(f"--{name}", "--in_json names the images") for name in names]
        return [*entries, *prior_weight(given, False), *written(part)]
    if not folder:
        raise UserError("--train_data_dir", "", "neither it nor --dataset_config is given")
    entries = [
        became("--train_data_dir", "data.dir", folder, _FOLDER + _ignored_there(folder)),
        Entry(
            "--train_data_dir",
            "default",
            "data.folder_captions",
            True,
            "the caption of an image without a caption file, from the folder N_name",
        ),
    ]
    if "reg_data_dir" in given:
        entries.append(became("--reg_data_dir", "data.reg_dir", given["reg_data_dir"]))
    return [*entries, *prior_weight(given, "reg_data_dir" in given), *written(part)]


def _ignored_there(path: str) -> str:
    """What an existing folder contains besides `N_name` subfolders."""
    try:
        folder = Path(path).expanduser()
        found = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    except (OSError, ValueError, RuntimeError):
        return ""
    others = [name for name in found if not name.partition("_")[0].isdigit()]
    return f"; sd-scripts ignores them, sweeplora uses them: {', '.join(others[:10])}" if others else ""


def _batch(given: Given, sources: list[Source]) -> tuple[int, Entry]:
    """Images in a batch over all processes; in sd-scripts the number is per process."""
    size, source = one_for_all(sources, "batch_size")
    whole = size * given.processes
    each = f"{size} for each of {given.processes} processes in sd-scripts; here for all of them together"
    note = each if given.processes > 1 else ""
    return whole, Entry(
        source or "--train_batch_size", "became" if source else "default", "train.batch_size", whole, note
    )


def _held_out(split: float | None, source: str) -> list[Entry]:
    if not split:
        return [no_effect(source, "0 holds nothing out")] if source else []
    note = "no image is in both parts, which sd-scripts allows"
    return [became(source, "data.val_split", split, note)]


def _overruled(given: Given, sources: list[Source]) -> list[Entry]:
    """Flags for a whole dataset that its file overrides."""
    flags = {
        FLAG_OF.get(option, option): one_for_all(sources, option)[1] for option in ("batch_size", "validation_split")
    }
    names = [name for name, source in flags.items() if name in given and source != f"--{name}"]
    return [no_effect(f"--{name}", "overridden by the dataset's file") for name in names]


def _seeded(given: Given, sources: list[Source], split: float | None) -> list[Entry]:
    """A `validation_seed` in the dataset's file: in sd-scripts it draws the split, in sweeplora also the noise."""
    seed, source = one_for_all(sources, "validation_seed")
    if not source or source == "--validation_seed":
        return []
    if not split:
        return [no_effect(source, "no images are held out")]
    return [became(source, "data.validation_seed", seed)]


def _masks(given: Given, sources: list[Source]) -> list[Entry]:
    if "masked_loss" not in given:
        return []
    if any(source.value(option)[0] for source in sources for option in ("alpha_mask", "conditioning_data_dir")):
        return [became("--masked_loss", "", True, "data.alpha_mask or data.mask_dir turns it on")]
    return [no_effect("--masked_loss", "there is no mask: neither alpha_mask nor a conditioning_data_dir")]


def _caches(given: Given, sources: list[Source]) -> list[Entry]:
    """What is encoded once; sweeplora always keeps it on disk, keyed by content."""
    entries: list[Entry] = []
    for name, key in (("cache_latents", "data.cache_latents"), ("cache_text_encoder_outputs", "data.cache_text")):
        disk = f"{name}_to_disk"
        asked = [flag for flag in (name, disk) if flag in given]
        if asked:
            entries.append(became(f"--{asked[0]}", key, True, _refused(given, sources) if "text" in name else ""))
        entries += [no_effect(f"--{flag}", "caches are always on disk") for flag in asked[1:]]
        if asked and name == "cache_latents":
            note = "drawn once for all steps, as in sd-scripts; data.latents=resample draws anew at no cost"
            entries.append(Entry("--cache_latents", "default", "data.latents", "frozen", note))
    if "vae_batch_size" in given:
        entries.append(became("--vae_batch_size", "data.vae_batch_size", given["vae_batch_size"]))
    if "max_data_loader_n_workers" in given:
        note = "threads; they do not change the result"
        entries.append(became("--max_data_loader_n_workers", "data.workers", given["max_data_loader_n_workers"], note))
    if "weighted_captions" in given:
        entries.append(became("--weighted_captions", "data.weighted_captions", True))
    return entries


def _refused(given: Given, sources: list[Source]) -> str:
    """Why text outputs cannot be cached, as the check would say."""
    if trains_text_encoders(given):
        return "refused, as in sd-scripts: a text encoder trains"
    random = [option for option in _RANDOM if any(source.value(option)[0] for source in sources)]
    return f"not with {random[0]}: sweeplora refuses it, as sd-scripts does" if random else ""
