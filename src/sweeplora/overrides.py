"""Command-line words in Hydra's override grammar, each parsed once per process."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, Sweep, Transformer
from hydra.errors import HydraException

from sweeplora.errors import UserError

_DOTTED = re.compile(r"[a-z_]+(\.[a-z0-9_]+)+")
_FILES = (".yaml", ".yml", ".json", ".toml", ".sh", ".py", ".txt", ".md", ".png", ".html", ".safetensors", ".ckpt")


@functools.lru_cache(maxsize=8192)
def parse(word: str) -> Override:
    """Parse one word, e.g. `network.dim=8`, `+sweep=mine` or `network.dim=choice(4,8)`; callers must not modify it.

    Raises UserError for a word that does not match the grammar.
    """
    key, joined, value = word.partition("=")
    if not joined and not word.startswith("~"):
        said = f"a key needs a value, {word}=VALUE" if looks_like_a_key(word) else "see --help"
        raise UserError("command line", word, f"neither a verb nor key=value; {said}")
    try:
        return _parser().parse_override(word)
    except (HydraException, ValueError) as error:
        raise UserError(key, value, f"not readable ({' '.join(str(error).split())}); {_quoted(key)}") from error
    except RecursionError as error:
        raise UserError(key, value, f"not readable, it is nested too deeply; {_quoted(key)}") from error


def looks_like_a_key(word: str) -> bool:
    """Whether a word without a value may be meant as a key: `optimizer.lr`, not `train.sh`."""
    return _DOTTED.fullmatch(word) is not None and Path(word).suffix not in _FILES


def written_value(override: Override) -> str:
    """The value of an override as written."""
    return (override.input_line or "").partition("=")[2]


def text_of(value: object) -> str:
    """A value as the right-hand side of an override: 0.001 -> `0.001`, None -> `null`."""
    if isinstance(value, str) and ("'" in value or '"' in value):  # Hydra's own text leaves quotes as they are
        return str(QuotedString(value, Quote.single).with_quotes())
    return str(Transformer.str(value))  # type: ignore[arg-type]


@functools.lru_cache(maxsize=1)
def _parser() -> OverridesParser:
    """Hydra's parser, with a choice(...) that also accepts null; Hydra's own does not."""
    functions = create_functions()
    functions.functions.pop("choice")
    functions.definitions.pop("choice")
    functions.register("choice", lambda *values: _choice_of(values))
    return OverridesParser(functions)


def _choice_of(values: tuple[Any, ...]) -> ChoiceSweep:
    if not values:
        raise ValueError("an empty choice")
    if len(values) == 1 and isinstance(values[0], ChoiceSweep):
        return ChoiceSweep(list=values[0].list)
    if any(isinstance(value, Sweep) for value in values):
        raise ValueError("a search within a choice")
    return ChoiceSweep(list=list(values))


def _quoted(key: str) -> str:
    return f"text with special characters needs quotes: '{key}=\"…\"'"
