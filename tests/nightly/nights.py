"""Small nights with the stand-in training in this process: two configurations, ranks 4 and 8."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sweeplora.__main__ import main
from sweeplora.config.catalog import shipped
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.nightly.folder import NightFolder, nights
from sweeplora.nightly.night import run_night
from sweeplora.nightly.report import Report, from_data
from sweeplora.nightly.settings import read_nightly
from tests.sweep.drive import check
from tests.sweep.inline import FILE

QUESTION = """# @package _global_
# A small night.
defaults:
  - override /launcher: inline
  - override /tracking: none
reuse: false
nightly:
  configurations: {four: [network.dim=4], eight: [network.dim=8]}
  needs: {}
  seeds: 5
  most_seeds: 10
  baseline: baselines
  secondary: []
  stop_at_canary: true
  speed: null
  against: null
  bisect: null
"""


def prepare(folder: Path) -> None:
    """The launcher and the question, in a folder that commands run in."""
    for name, text in (("conf/launcher/inline.yaml", FILE), ("sweeps/small.yaml", QUESTION)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def night(folder: Path, *words: str, **behaviour: Any) -> tuple[int, str]:
    """Train a night: exit code, and all that was printed."""
    said = io.StringIO()
    given = ["+sweep=small", *words]
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        patch.dict("os.environ", {"STANDIN": json.dumps({"state": True, "steps": 60, **behaviour})}),
    ):
        try:
            configuration = compose(given)
            settings = read_nightly(configuration.config)
            assert settings is not None
            code = run_night(given, configuration, settings, (compose, check, "standin"))
        except UserError as error:
            return 2, str(error)
    return code, said.getvalue()


def raise_the_rate(folder: Path) -> None:
    """A planted fault in the user's conf/: ten times the learning rate, by which the stand-in's loss rises 5 %."""
    file = folder / "conf/optimizer/adamw.yaml"
    file.parent.mkdir()
    text = (shipped("conf") / "optimizer/adamw.yaml").read_text()
    file.write_text(text.replace("lr: 2e-3", "lr: 2e-2"))


def last(folder: Path) -> NightFolder:
    """The newest night."""
    return nights(folder / "runs")[-1]


def report_of(folder: Path) -> Report:
    """What came of the newest night."""
    content = last(folder).read_report()
    assert content is not None
    return from_data({key: value for key, value in content.items() if key != "verdict"})


def verdicts(folder: Path) -> dict[str, str]:
    """`configuration metric` -> verdict, of the newest night."""
    return {f"{one.configuration} {one.metric}": one.verdict.value for one in report_of(folder).criteria}


def verb(folder: Path, *words: str) -> tuple[int, str]:
    """`python -m sweeplora baseline ...`: exit code, and all that was printed."""
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(["baseline", *words])
    return code, said.getvalue()


def with_baseline(folder: Path) -> None:
    """A night of ten seeds, accepted."""
    prepare(folder)
    night(folder, "nightly.seeds=10")
    code, said = verb(folder, "accept", last(folder).path.name, "--reason", "the first one")
    assert code == 0, said
