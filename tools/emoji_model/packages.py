"""The two npm packages that hold the emoji pictures: fetched once, checked, unpacked."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

VERSION = "16.0.0"
STYLES = {"noto": "google", "twemoji": "twitter"}
SHA256 = {
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}


def unpack_all(packages: Path | None, work: Path) -> None:
    """Unpack the metadata and the 64 pixel pictures of both styles below `work`.

    `packages` is a folder with the two tarballs; without it `npm pack` fetches them into `work`.
    A style that is there already is left alone.
    """
    for source in STYLES.values():
        target = work / "packages" / source
        if target.is_dir():
            continue
        tarball = _tarball(source, packages or work / "tarballs")
        _check(tarball, SHA256[source])
        partial = target.with_suffix(".partial")
        _unpack(tarball, source, partial)
        partial.rename(target)


def metadata(work: Path) -> list[dict[str, Any]]:
    """The records of emoji.json, one for each emoji: name, short name, category, picture file."""
    entries: list[dict[str, Any]] = json.loads((work / "packages" / "google" / "emoji.json").read_text("utf-8"))
    return entries


def picture_path(work: Path, style: str, image: str) -> Path:
    """The unpacked 64 pixel picture `image` in the style "noto" or "twemoji"."""
    return work / "packages" / STYLES[style] / image


def _tarball(source: str, folder: Path) -> Path:
    name = f"emoji-datasource-{source}"
    path = folder / f"{name}-{VERSION}.tgz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{VERSION}", "--pack-destination", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return path


def _check(path: Path, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"{path} has sha256 {found}, not {expected}: delete it and fetch it again")


def _unpack(tarball: Path, source: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    pictures = f"package/img/{source}/64/"
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            if member.name != "package/emoji.json" and not member.name.startswith(pictures):
                continue
            content = archive.extractfile(member)
            if content is not None:
                (target / Path(member.name).name).write_bytes(content.read())
