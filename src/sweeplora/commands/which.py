"""Say which run made a weights file or drew a preview, also a renamed or copied one; reads sd-scripts' files too."""

from __future__ import annotations

from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.place import runs_of
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

_EXAMPLE = "python -m sweeplora which downloads/0f3a9c.safetensors"
_UNSURE = 1


def main(words: list[str]) -> int:
    """Print what is known about each file; returns 0, or 1 if there is one that is damaged or whose run is not here."""
    from sweeplora.report.file_facts import facts_of, shown_facts
    from sweeplora.report.origin import origin_of
    from sweeplora.rundir.places import refuse_unreachable

    parser = Parser("which", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON: one object for each file")
    parser.add_argument("words", nargs="+", metavar="FILE", help="weights files or previews; runs=FOLDER")
    asked = parser.parse(words)
    runs, files = runs_of(asked.words)
    if not files:
        raise UserError("which", "", f"give a weights file; see {parser.prog} --help")
    for name in files:
        refuse_unreachable("FILE", name)
        if not Path(name).is_file():
            raise UserError("FILE", name, "there is no such file")
    origins = [origin_of(Path(name), runs) for name in files]
    if asked.json:
        print(json_text([facts_of(origin) for origin in origins], indent=1))
    else:
        print("\n\n".join("\n".join(shown_facts(facts_of(origin))) for origin in origins))
    return 0 if all(origin.folders and origin.damage is None for origin in origins) else _UNSURE
