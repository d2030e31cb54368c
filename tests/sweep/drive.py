"""The command line of the sweep tests: the real composer, a check that only signs, the stand-in training."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.rundir.signature import signature
from sweeplora.sweep.study import run


class Facts(NamedTuple):
    """What a sweep needs to know of a configuration."""

    signature: str
    steps: int | None
    validates: bool = True
    arithmetic: str = "as many images as steps"
    notices: tuple[str, ...] = ()


def check(config: dict[str, Any]) -> Facts:
    """Sign the configuration; the one thing wrong here is a rank of 13."""
    if config["network"]["dim"] == 13:
        raise UserError("network.dim", 13, "give another number")
    return Facts(signature(config, {}, {}), json.loads(os.environ.get("STANDIN", "{}")).get("steps", 5))


def main(argv: Sequence[str]) -> int:
    """As `python -m sweeplora`, but with the stand-in."""
    try:
        return run(argv, compose, check, "standin")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
