"""Whether a page makes a browser ask another host."""

from __future__ import annotations

import re

_LOADING = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev))[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
)


def loads_from_elsewhere(html: str) -> str:
    """The first tag that loads something from another host; empty if there is none. A link to follow loads nothing."""
    found = _LOADING.search(html)
    return found[0] if found else ""
