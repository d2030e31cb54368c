"""The known names closest to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, known: Sequence[str]) -> str:
    """The known names closest to `word`, or all of a short list, as the end of a message."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.55)
    if close:
        return f"nearest: {', '.join(close)}"
    return f"there are: {', '.join(known)}" if len(known) <= 20 else "see python -m sweeplora --help"
