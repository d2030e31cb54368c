"""The help text: the available commands and choices, collected from the files of commands/, conf/ and sweeps/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from sweeplora.config import catalog

_USAGE = """\
usage: python -m sweeplora [key=value | group=choice | +sweep=NAME ...]     train once, or run a sweep
       python -m sweeplora VERB [...]                                       do something else; see VERB --help
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


def usage(verbs: Mapping[str, str], here: Path) -> str:
    """The whole help text for the current folder; `verbs`: each with a one-line description."""
    groups = catalog.groups(here)
    sweeps = catalog.sweeps(here)
    wide = max(map(len, [*verbs, *groups, *sweeps]), default=0) + 4
    doing = [_entry(verb, text, wide) for verb, text in verbs.items()]
    chosen = [_entry(group, " | ".join(choices), wide) for group, choices in groups.items()]
    asked = [_entry(name, catalog.question(file), wide) for name, file in sweeps.items()]
    return "\n".join([_USAGE, "verbs:", *doing, "", "groups:", *chosen, "", "sweeps:", *asked, "", _EXAMPLES])


def _entry(name: str, text: str, wide: int) -> str:
    said = text or "(says nothing of itself in its first line)"
    return fill(said, _WIDTH, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
