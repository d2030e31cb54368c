"""The help text: what can be run and chosen here, gathered from the file names of conf/ and sweeps/."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from sweeplora.config import catalog

_VERBS = """\
usage: python -m sweeplora [key=value | group=choice | +sweep=NAME ...]     train once, or run a sweep
       python -m sweeplora ui [--port 5000] [runs=DIR]                      open the record in a browser
       python -m sweeplora sync [runs=DIR]                                  bring the record up to date
       python -m sweeplora convert [--output FILE] [--force] COMMAND|SCRIPT take over a training of sd-scripts
       python -m sweeplora --cfg [...]                                      print the configuration, run nothing
       python -m sweeplora --help | --version
"""
_EXAMPLES = """\
examples:
  python -m sweeplora +sweep=rank_alpha
  python -m sweeplora +sweep=rank_alpha sweep.name=mine data=folder data.dir=/my/pictures data.val_split=0.1
  python -m sweeplora model=sdxl model.path=/models/my-sdxl.safetensors train=full optimizer.lr=1e-4 network=lokr
  python -m sweeplora 'optimizer.lr=tag(log, interval(1e-4, 1e-2))' sweep.name=lr sweep.trials=20

Your own choices go into ./conf/GROUP/NAME.yaml and your own sweeps into ./sweeps/NAME.yaml; they come first.
Every key and its meaning: python -m sweeplora --cfg, and the comments in conf/.
"""
_WIDTH = 110


def usage(here: Path) -> str:
    """The whole help text, for the folder that the command runs in."""
    groups = catalog.groups(here)
    sweeps = catalog.sweeps(here)
    wide = max(map(len, [*groups, *sweeps]), default=0) + 4
    chosen = [_entry(group, " | ".join(choices), wide) for group, choices in groups.items()]
    asked = [_entry(name, catalog.question(file), wide) for name, file in sweeps.items()]
    return "\n".join([_VERBS, "groups:", *chosen, "", "sweeps:", *asked, "", _EXAMPLES])


def _entry(name: str, text: str, wide: int) -> str:
    return fill(text, _WIDTH, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
