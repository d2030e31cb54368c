"""Look into a data set: `data check` tells sizes, buckets, captions, tokens, tags, duplicates and damaged files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.one_run import key_of
from sweeplora.commands.target import file_target
from sweeplora.commands.words import expect_keys, is_assignment, key_and_value
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.data.folder import Folder
    from sweeplora.models.usual import Usual

_EXAMPLE = "python -m sweeplora data check /my/pictures model=sdxl model.max_tokens=150 --picture sizes.png"
_WELL, _FAULTY = 0, 1
_CREATOR = "sweeplora data check"
_TAGS = 20
_PICTURES = ("png", "svg", "pdf")


def main(words: list[str]) -> int:
    """Print what is in a data set's folders; returns 0, or 1 if a training would refuse some of it."""
    from sweeplora.data.survey.facts import facts_of
    from sweeplora.data.survey.survey import Sides, survey
    from sweeplora.data.survey.text import lines_of

    parser = Parser("data", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, with every image, tag and group")
    parser.add_argument("--picture", metavar="FILE", help="draw sizes and buckets: a .png, .svg or .pdf")
    parser.add_argument("--tags", metavar="N", type=_count, help=f"show the N most frequent tags, by default {_TAGS}")
    parser.add_argument("action", choices=("check",), metavar="check", help="look, and change nothing")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="DIR, or data=…; and key=value: data.*, model.*, as a training has them",
    )
    asked = parser.parse(words)
    if asked.json and asked.tags is not None:
        raise UserError("--tags", asked.tags, "has no effect beside --json, which has every tag; leave it out")
    config = _configured(asked.words)
    folder, usual = _folder(config["data"]), _usual(config["model"])
    picture = None if asked.picture is None else _picture(Path(asked.picture), folder)
    try:
        found = survey(folder, Sides(usual.divisor, usual.resolution))
    except OSError as error:
        raise UserError("data.dir", error.filename, f"cannot be read ({error.strerror})") from None
    facts = facts_of(found, usual.tokenizers, config["model"]["max_tokens"], folder.weighted_captions)
    tags = _TAGS if asked.tags is None else asked.tags
    print(json_text(facts, indent=1) if asked.json else "\n".join(lines_of(facts, tags)))
    if picture is not None:
        _draw(picture, facts)
    return _FAULTY if facts["refusals"] else _WELL


def _configured(words: Sequence[str]) -> dict[str, Any]:
    """The configuration with a folder among the words as its data."""
    from sweeplora.config.compose import compose

    folders = [word for word in words if not is_assignment(word)]
    overrides = [word for word in words if word not in folders]
    expect_keys("data check", overrides, ("data", "data.", "model", "model."))
    for word in overrides:
        if folders and key_of(word) == "data.dir":
            raise UserError(*key_and_value(word), f"has no effect beside {folders[0]}; give one of them")
    if len(folders) > 1:
        raise UserError("data check", folders[1], "one folder at a time; for several give data.subsets")
    if folders and not any(word.startswith("data=") for word in overrides):
        overrides = ["data=folder", *overrides]
    config = compose(overrides).config
    if folders:
        config["data"]["dir"] = folders[0]
    return config


def _folder(node: Mapping[str, Any]) -> Folder:
    """The data set of a configuration. Raises UserError for wrong options, and for one that is not made of folders."""
    from sweeplora.check.parts import built
    from sweeplora.config.binding import check_node
    from sweeplora.data.folder import Folder
    from sweeplora.experiment import Group

    check_node("data", node)
    folder = built(Group(node))
    if not isinstance(folder, Folder):
        raise UserError("data", node["_target_"], "only folders of images can be looked into; give data=folder or DIR")
    return folder


def _usual(node: Mapping[str, Any]) -> Usual:
    """What the configured model asks of images and captions; where it has no file yet, what its family usually does."""
    from sweeplora.check.parts import built
    from sweeplora.config.binding import MISSING, check_node
    from sweeplora.experiment import Group
    from sweeplora.models.base import Base
    from sweeplora.models.usual import Usual

    is_missing = node.get("path") == MISSING
    check_node("model", {**node, "path": "."} if is_missing else node)
    base: Base = built(Group(node))
    if is_missing and (usual := base.usual()) is not None:
        return usual
    facts = base.facts()
    return Usual(facts.divisor, facts.resolution, facts.tokenizers)


def _picture(file: Path, folder: Folder) -> Path:
    """Where the picture goes. Raises UserError for a place where it cannot be, or would be trained on."""
    if not file.name.isprintable():
        raise UserError("--picture", file, "give a name of letters and digits, e.g. --picture sizes.png")
    file_target("--picture", file, [f".{kind}" for kind in _PICTURES], _is_drawing)
    inside = next((one for one in folder.sources() if file.resolve().is_relative_to(one.path.resolve())), None)
    if inside is not None:
        raise UserError(
            "--picture", file, f"lies in {inside.key}={inside.dir}, and would be trained on; put it elsewhere"
        )
    return file


def _is_drawing(file: Path) -> bool:
    """Whether a file is an earlier look's picture."""
    return _CREATOR.encode() in file.read_bytes()


def _draw(file: Path, facts: Mapping[str, Any]) -> None:
    from io import BytesIO

    from sweeplora.data.survey.drawing import drawing
    from sweeplora.rundir.files import write_whole

    content = BytesIO()
    drawing(facts).savefig(content, format=file.suffix[1:].lower(), dpi=110, metadata={"Creator": _CREATOR})
    write_whole(file, content.getvalue())


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError("--tags", text, "give a number of tags, e.g. --tags 50")
    return int(text)
