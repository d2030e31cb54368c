"""The reference of all keys, a page for each group of conf/, and of the shipped sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.docs_site.conf_files import ConfFile, Entry, choices_in, read
from tools.docs_site.flags import Flags, flags_by_key, flags_of
from tools.docs_site.text import cell, code, prose, table

_FOLDER = "reference/configuration"
_HEAD = ("key", "default", "meaning", "sd-scripts")


def pages(root: Path) -> dict[str, str]:
    """Address in the site -> Markdown, for every group of `root`/conf."""
    conf = root / "conf"
    files = _files(conf)
    flags = flags_by_key(root / "docs" / "guide.md")
    groups = choices_in(conf / "config.yaml")
    assert set(groups) == {name.partition("/")[0] for name in files if "/" in name}, "a group without a default"
    made = {f"{_FOLDER}/index.md": _overview(files["config"], groups, flags)}
    for group, (default, said) in groups.items():
        made[f"{_FOLDER}/{group}.md"] = _group_page(group, (default, said), files, flags)
    return made


def undescribed(root: Path) -> list[str]:
    """The keys of conf/ of which neither their own file nor one that it builds on says what they mean."""
    files = _files(root / "conf")
    keys = ((one, entry) for one in files.values() for entry in one.entries)
    return [f"{one.name}: {entry.key}" for one, entry in keys if not _meaning(entry, one, files)]


def sweeps_page(root: Path) -> str:
    """The shipped sweeps with their files."""
    lines = ["# Shipped sweeps", "", "Each file says what it asks, what it costs and how to read the answer.", ""]
    for file in sorted((root / "sweeps").glob("*.yaml")):
        lines += [f"## {file.stem}", "", "```yaml", file.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)


def _files(conf: Path) -> dict[str, ConfFile]:
    return {one.name: one for one in (read(file, conf) for file in sorted(conf.rglob("*.yaml")))}


def _overview(config: ConfFile, groups: Mapping[str, tuple[str, str]], flags: Flags) -> str:
    rows = [(f"[{group}]({group}.md)", code(default), cell(said)) for group, (default, said) in groups.items()]
    return "\n".join(
        [
            "# Configuration",
            "",
            prose(config.header),
            "",
            "Every key is listed with its default and its meaning, as the files of `conf/` give them. `???` has to be",
            "given. `python -m sweeplora --cfg` prints all keys with the values that a command would use.",
            "",
            "## Groups",
            "",
            *table(("group", "default", "what it chooses"), rows),
            "",
            "## Keys above the groups",
            "",
            *_rows(config, "", {config.name: config}, flags),
            "",
        ]
    )


def _group_page(group: str, default: tuple[str, str], files: Mapping[str, ConfFile], flags: Flags) -> str:
    own = [one for name, one in files.items() if name.startswith(f"{group}/")]
    own.sort(key=lambda one: (one.name != f"{group}/{default[0]}", one.name))
    shared = list(dict.fromkeys(base for one in own for base in _above(one, files) if "/" not in base))
    names = ", ".join(f"[`{one.name.partition('/')[2]}`](#{_anchor(one.name)})" for one in own)
    lines = [f"# {group}", "", f"{cell(default[1])[:1].upper()}{cell(default[1])[1:]}.", ""]
    lines += [f"`{group}=NAME` chooses one of: {names}. The default is `{default[0]}`.", ""]
    for one in [*own, *(files[name] for name in shared)]:
        lines += _section(one, group, files, flags)
    return "\n".join(lines)


def _section(one: ConfFile, group: str, files: Mapping[str, ConfFile], flags: Flags) -> list[str]:
    title = one.name.removeprefix(f"{group}/")
    lines = [f"## {title} {{ #{_anchor(one.name)} }}", "", prose(one.header), ""]
    if one.target:
        also = flags_of(f"{group}._target_", one.name.replace("/", "="), flags)
        lines += [f"`_target_`: `{one.target}`{f'; sd-scripts: {also}' if also else ''}", ""]
    if one.bases:
        also = ", ".join(f"[{base.removeprefix(f'{group}/')}](#{_anchor(base)})" for base in one.bases)
        lines += [f"It also has the keys of {also}.", ""]
    if one.entries:
        has_own_place = one.header and any("." in entry.key for entry in one.entries) and not one.target
        lines += [*_rows(one, "" if has_own_place else f"{group}.", files, flags), ""]
    return lines


def _rows(one: ConfFile, prefix: str, files: Mapping[str, ConfFile], flags: Flags) -> list[str]:
    rows = []
    for entry in one.entries:
        key = f"{prefix}{entry.key}"
        same = flags_of(key, one.name.replace("/", "="), flags)
        rows.append((code(key), code(entry.default), cell(_meaning(entry, one, files)), same))
    head = _HEAD if any(row[3] for row in rows) else _HEAD[:3]
    return table(head, [row[: len(head)] for row in rows])


def _meaning(entry: Entry, one: ConfFile, files: Mapping[str, ConfFile]) -> str:
    """What the file says of a key, else the nearest file that it builds on."""
    if entry.meaning:
        return entry.meaning
    above = (other for name in _above(one, files) for other in files[name].entries)
    return next((other.meaning for other in above if other.key == entry.key and other.meaning), "")


def _above(one: ConfFile, files: Mapping[str, ConfFile]) -> list[str]:
    """The names of the files that one builds on, the nearest first."""
    direct = [name for name in one.bases if name in files]
    return [*direct, *(name for base in direct for name in _above(files[base], files))]


def _anchor(name: str) -> str:
    return name.replace("/", "-").replace("_", "-")
