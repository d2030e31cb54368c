"""Which code made something that is kept: entries of a cache are of no use to code that would make others."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import metadata

from sweeplora.config.imports import is_own, reachable
from sweeplora.config.sources import source_of, text_that_runs

_LIBRARIES = ("torch", "diffusers", "transformers")


@functools.cache
def code_digest(*modules: str) -> str:
    """Hex sha256 over the code that these modules run, of their own packages too, and over the libraries' versions.

    Comments and docstrings do not count.
    """
    packages = {module.partition(".")[0] for module in modules}
    found = sorted(reachable(modules, late=True, within=lambda name: is_own(name) or name in packages))
    texts: Sequence[str] = [text_that_runs(source) for name in found if (source := source_of(name)) is not None]
    versions = [metadata.version(name) for name in _LIBRARIES]
    return hashlib.sha256(json.dumps([texts, versions]).encode()).hexdigest()
