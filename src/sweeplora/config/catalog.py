"""The available choices: the folders of conf/ and sweeps/, the user's own before the shipped ones."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def folders(kind: str, here: Path) -> list[Path]:
    """The folders that hold `kind` ("conf" or "sweeps"), the one below `here` first, without duplicates."""
    found = [folder.resolve() for folder in (here / kind, shipped(kind)) if folder.is_dir()]
    return list(dict.fromkeys(found))


def shipped(kind: str) -> Path:
    """The package's own folder of that kind: inside the package when installed, next to `src/` in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parents[1] / kind


def groups(here: Path) -> dict[str, list[str]]:
    """Config group -> its choices, sorted, from every conf folder."""
    found: dict[str, set[str]] = {}
    for conf in folders("conf", here):
        for file in conf.glob("*/**/*.yaml"):
            found.setdefault(file.parent.relative_to(conf).as_posix(), set()).add(file.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def sweeps(here: Path) -> dict[str, Path]:
    """Sweep name -> its file, sorted by name; the user's own hides a shipped one of the same name.

    A file in a subfolder is named by its path: `sweeps/faces/rank.yaml` is `faces/rank`.
    """
    found: dict[str, Path] = {}
    for folder in reversed(folders("sweeps", here)):
        files = [file for ending in ("yml", "yaml") for file in folder.rglob(f"*.{ending}") if file.is_file()]
        found |= {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    return dict(sorted(found.items()))


def question(file: Path) -> str:
    """First line of a YAML file's header comment, other than `@package`; empty if there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(not readable: {error.strerror})"
    for line in lines:
        if not line.startswith("#"):
            return ""
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@package"):
            return text
    return ""
