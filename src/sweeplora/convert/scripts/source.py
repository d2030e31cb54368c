"""What kind of text it is, and its commands."""

from __future__ import annotations

from sweeplora.convert.scripts import shells
from sweeplora.convert.scripts.documents import markdown, notebook
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError


def read(script: Script) -> Reading:
    """The commands that the text would start. Raises UserError for one that cannot be read, naming the line."""
    ending = script.file.suffix.lower() if script.file is not None else ""
    match ending:
        case ".ipynb":
            return notebook(script)
        case ".md" | ".markdown":
            return markdown(script)
        case ".yaml" | ".yml":
            mend = "is a settings file of another trainer; give a command of sd-scripts, or the script that starts it"
            raise UserError("convert", script.name, mend)
    return shells.read(script)
