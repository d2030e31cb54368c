"""Stateless randomness: a 64-bit seed computed from (seed, what, step or epoch or name, index)."""

from __future__ import annotations

import hashlib
import json


def seed_of(seed: int, what: str, *parts: int | str) -> int:
    """Seed for one draw, the same on every machine, in every process and after every resume.

    `what` names the purpose ("noise", "timestep", "order", ...) so that two purposes never share a stream;
    `parts` say which draw it is (epoch, sample, step, module name). Returns an integer in [0, 2**63).
    """
    text = json.dumps([seed, what, *parts], separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
