"""A `--dataset_config`: three levels of tables, and the options each subset of images gets from them and the flags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeplora.config.nearest import nearest
from sweeplora.convert.reading.dataset_schema import (
    ANYWHERE,
    DATASET_ONLY,
    FLAG_OF,
    OF_IMAGES,
    SUBSET_ONLY,
    Kind,
    Value,
    fits,
    wanted,
)
from sweeplora.convert.reading.files import Files
from sweeplora.convert.reading.flags import FLAGS
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.toml_file import toml
from sweeplora.convert.scripts.decode import decode
from sweeplora.errors import UserError

_IN_FILES_ONLY = ("conditioning_data_dir",)


@dataclass(frozen=True)
class Table:
    """One table of the file, and its name in messages."""

    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """One subset with the tables that apply to it, its own first."""

    levels: tuple[Table, ...]
    given: Given

    @property
    def unread(self) -> tuple[str, ...]:
        """Options whose flag sd-scripts does not read for this subset: mask folders; repeats, which `N_name` sets."""
        return (
            _IN_FILES_ONLY
            if "dataset_config" in self.given or "in_json" in self.given
            else (*_IN_FILES_ONLY, "num_repeats")
        )

    @property
    def own(self) -> Mapping[str, Any]:
        """The options in the subset's own table."""
        return self.levels[0].content

    def value(self, option: str) -> Value:
        """An option's value and its source: the nearest table, then the flag, then the flag's default."""
        for table in self.levels:
            if table.content.get(option) is not None:
                return table.content[option], f"{table.name} {option}"
        flag = FLAG_OF.get(option, option)
        if flag not in FLAGS or option in self.unread:
            return None, ""
        return self.given[flag], f"--{flag}" if flag in self.given else ""

    def said(self) -> frozenset[str]:
        """The options that a table or a flag sets."""
        return frozenset(option for option in OF_IMAGES if self.value(option)[1])


def read(path: str, given: Given) -> list[Source]:
    """Every subset of a dataset's file. Raises UserError for a key that sd-scripts does not know."""
    content = _content(path, given.files)
    for name in content:
        if name not in ("general", "datasets"):
            raise UserError("--dataset_config", name, f"no such table in {path}; there are: general, datasets")
    general = Table("[general]", _table(content.get("general", {}), "general"))
    _expect(general, {**DATASET_ONLY, **ANYWHERE})
    sources: list[Source] = []
    for number, dataset in enumerate(_tables(content.get("datasets", []), "datasets"), 1):
        table = Table(f"[[datasets]] {number}", {k: v for k, v in dataset.items() if k != "subsets"})
        _expect(table, {**DATASET_ONLY, **ANYWHERE})
        for place, subset in enumerate(_tables(dataset.get("subsets", []), "datasets.subsets"), 1):
            own = Table(f"[[datasets.subsets]] {number}.{place}", subset)
            _check_subset(own, given)
            sources.append(_linked(Source((own, table, general), given)))
    if not sources:
        raise UserError("--dataset_config", path, "holds no [[datasets.subsets]]")
    return sources


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError("--dataset_config", f"{name} {_shown(value)}", f"must be a table, [{name}]")
    return value


def _tables(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        mend = f"must be a list of tables: write [[{name}]], in two pairs of brackets"
        raise UserError("--dataset_config", f"{name} {_shown(value)}", mend)
    return value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def tables(sources: list[Source]) -> Iterator[Table]:
    """Every table of the file once."""
    seen: dict[str, Table] = {}
    for source in sources:
        seen |= {table.name: table for table in source.levels}
    yield from seen.values()


def one_for_all(sources: list[Source], option: str) -> Value:
    """A dataset option that must be the same in all datasets. Raises UserError if it is not."""
    values = {json.dumps(source.value(option)[0]): source.value(option) for source in sources}
    if len(values) > 1:
        raise UserError(
            "--dataset_config",
            f"{option} {', '.join(values)}",
            "differs between datasets; sweeplora has one value for all",
        )
    return next(iter(values.values()))


def _content(path: str, files: Files) -> dict[str, Any]:
    data = files.read(path, "--dataset_config")
    if not path.lower().endswith(".json"):
        return toml(data, "--dataset_config", path)
    try:
        content = json.loads(decode(data, path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError("--dataset_config", path, f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError("--dataset_config", path, "holds no tables; there are: general, datasets")
    return content


def _expect(table: Table, known: Mapping[str, Kind]) -> None:
    """Raise UserError for an option unknown in this table, or for a value whose type differs from the schema's."""
    for option, value in table.content.items():
        if option not in known:
            mend = f"sd-scripts has no {option} in {table.name}; {nearest(option, list(known))}"
            raise UserError("--dataset_config", option, mend)
        if not fits(value, known[option]):
            written = json.dumps(value, ensure_ascii=False, default=str)
            mend = f"sd-scripts takes {wanted(known[option])} for {option} in {table.name}"
            raise UserError("--dataset_config", f"{option} = {_shown(written)}", mend)


def _check_subset(own: Table, given: Given) -> None:
    if "conditioning_data_dir" in own.content and "masked_loss" not in given:
        mend = "sd-scripts takes it here with --masked_loss only"
        raise UserError("--dataset_config", "conditioning_data_dir", mend)
    _expect(own, {**SUBSET_ONLY, **ANYWHERE})
    if "image_dir" not in own.content and "metadata_file" not in own.content:
        raise UserError("--dataset_config", own.name, "names no image_dir")


def _linked(source: Source) -> Source:
    """A metadata file's subset as a folder's."""
    own, *others = source.levels
    if "metadata_file" not in own.content:
        return source
    separator, extension = (str(source.value(option)[0]) for option in ("caption_separator", "caption_extension"))
    folder = source.given.link(own.content["metadata_file"], own.content.get("image_dir", ""), separator, extension)
    return Source((Table(own.name, {**own.content, "image_dir": folder}), *others), source.given)
