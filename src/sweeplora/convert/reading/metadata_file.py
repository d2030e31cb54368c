"""A metadata file of sd-scripts, image -> caption and tags, as a folder of image links with their captions."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.convert.reading.files import Files
from sweeplora.convert.scripts.decode import decode
from sweeplora.errors import UserError

_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl")


@dataclass(frozen=True)
class LinkedImages:
    """A folder to create: links to images, and for each a caption file with this extension."""

    folder: Path
    extension: str
    images: tuple[tuple[Path, str], ...]

    def write(self) -> None:
        """Create the folder. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, (image, caption) in enumerate(self.images):
            link = self.folder / f"{number:05d}_{image.name}"
            link.unlink(missing_ok=True)
            try:
                link.symlink_to(image.resolve())
            except OSError:
                shutil.copy2(image, link)
            link.with_suffix(self.extension).write_text(caption, encoding="utf-8")


def folder_of(output_name: str, number: int) -> Path:
    """The folder that holds the links of a training's n-th metadata file."""
    stem = re.sub(r"[^\w.-]+", "_", output_name) or "converted"
    return Path("sweeps", f"{stem}.images", f"images{number + 1}")


def captions_of(path: str, image_dir: str, separator: str, files: Files) -> tuple[tuple[Path, str], ...]:
    """Every image of a metadata file with its caption, with tags added as in sd-scripts.

    Raises UserError for a file of another structure, and for a missing image.
    """
    key = "metadata_file"
    try:
        content = json.loads(decode(files.read(path, key), path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(key, path, f"not JSON: {error}") from error
    if not isinstance(content, dict) or not content:
        raise UserError(key, path, 'must hold images, {"image": {"caption": "...", "tags": "..."}}')
    return tuple((_image(name, image_dir, files), _caption(name, entry, separator)) for name, entry in content.items())


def _image(name: str, image_dir: str, files: Files) -> Path:
    found = files.find(name)
    name, image_dir = (text if os.sep == "\\" else text.replace("\\", "/") for text in (name, image_dir))
    for folder in (Path(image_dir), *(one / image_dir for one in files.folders)):
        if found is not None or not image_dir:
            break
        pattern = f"{glob.escape(str(folder / name))}.*"
        images = sorted(Path(file) for file in glob.glob(pattern) if Path(file).suffix.lower() in _IMAGES)
        exact = folder / name
        found = exact if exact.is_file() else images[0] if images else None
    if found is None:
        where = f"in {image_dir}" if image_dir else "here"
        raise UserError("metadata_file", name, f"there is no such image {where}; convert where the images are")
    return found


def _caption(name: str, entry: Any, separator: str) -> str:
    if not isinstance(entry, Mapping):
        raise UserError("metadata_file", name, 'must be {"caption": "...", "tags": "..."}')
    caption, tags = entry.get("caption"), entry.get("tags")
    for text in (caption, tags):
        if text is not None and not isinstance(text, str):
            raise UserError("metadata_file", name, "its caption and tags must be text")
    if caption is None:
        caption, tags = tags or "", None
    return f"{caption}{separator if caption else ''}{tags}" if tags else caption
