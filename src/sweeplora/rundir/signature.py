"""The signature of an experiment: a hash of everything that determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

UNSIGNED = (
    *("file_name", "runs", "reuse", "keep_failed"),
    *("launcher", "tracking", "search", "pruner", "sweep", "nightly"),
)
"""Top-level keys that say where and how a run happens, not what it is: left out of the signature.

`name` is signed although nothing is learned from it: it is the title inside the weights files, and one signature stands
for one file.
"""

LABEL = "name"

_UNSIGNED_BELOW = (
    "data.workers",
    "train.lowram",
    "train.checkpoint_minutes",
    "train.checkpoint_every_steps",
    "train.keep_state",
)
"""Keys inside the others that change a run's speed, memory or state on disk, and nothing of its result."""


def signature(config: Mapping[str, Any], contents: Mapping[str, str], code: Mapping[str, str]) -> str:
    """Twelve hex digits that identify an experiment: same signature, same result.

    `config` is the resolved config; keys in UNSIGNED do not count. `contents` maps each dotted key that holds a path to
    the content hash used in its place; `code` holds the hash of the training source and the versions of the numerical
    libraries.
    """
    signed = signed_part(config)
    for dotted, digest in contents.items():
        _put(signed, dotted, f"sha256:{digest}")
    text = json.dumps([signed, dict(code)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def signed_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a resolved config without the keys that no result depends on."""
    signed: dict[str, Any] = {key: value for key, value in config.items() if key not in UNSIGNED}
    signed = json.loads(json.dumps(signed))
    for dotted in _UNSIGNED_BELOW:
        group, _, key = dotted.partition(".")
        if isinstance(signed.get(group), dict):
            signed[group].pop(key, None)
    return signed


def is_unsigned(key: str) -> bool:
    """Whether a dotted key is excluded from the signature."""
    return key.partition(".")[0] in UNSIGNED or key in _UNSIGNED_BELOW


def teaches_nothing(key: str) -> bool:
    """Whether nothing that is learned depends on a dotted key: the unsigned ones, and the label."""
    return is_unsigned(key) or key == LABEL


def _put(tree: dict[str, Any], dotted: str, value: str) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        tree = tree[parent]
    tree[last] = value
