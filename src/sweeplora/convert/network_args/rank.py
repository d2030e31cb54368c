"""The rank that a command gives to every layer."""

from __future__ import annotations

from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_DEFAULT_RANK = 4


def rank_of(given: Given) -> int:
    """`--network_dim`, or what sd-scripts' networks take without it. Raises UserError for a rank below 1."""
    rank: int | None = given["network_dim"]
    if rank is not None and rank < 1:
        raise UserError("--network_dim", rank, "no layer has such a rank; give 1 or more")
    return _DEFAULT_RANK if rank is None else rank
