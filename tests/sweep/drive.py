"""The command line of the sweep tests: the real composer, a check that only signs, the stand-in training."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.launch import local
from sweeplora.rundir.signature import signature
from sweeplora.sweep.study import run


def check(configuration: Configuration) -> Experiment:
    """Sign the configuration; the one thing wrong here is a rank of 13."""
    if configuration.config["network"]["dim"] == 13:
        raise UserError("network.dim", 13, "give another number")
    return Experiment(
        config=configuration.config,
        overrides=configuration.overrides,
        signature=signature(configuration.config, {}, {}),
        contents={},
        code={},
        steps=json.loads(os.environ.get("STANDIN", "{}")).get("steps", 5),
        arithmetic="as many images as steps",
        validates=True,
        steps_per_epoch=1,
        notices=(),
    )


def main(argv: Sequence[str]) -> int:
    """As `python -m sweeplora`, but with the stand-in."""
    try:
        return run(argv, compose, check, "standin")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def process(argv: Sequence[str]) -> int:
    """`main` in a process of its own, whose patience with what does not stop may be given too."""
    local._GRACE_SECONDS = json.loads(os.environ.get("STANDIN", "{}")).get("grace", local._GRACE_SECONDS)
    return main(argv)


if __name__ == "__main__":
    sys.exit(process(sys.argv[1:]))
