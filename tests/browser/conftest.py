"""A small sweep that was really trained and recorded, and a browser to look at it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.watched import Watched

STUDY = "small"
_WORDS = (
    f"sweep.name={STUDY}",
    "network.dim=choice(2,4,8)",
    "network.alpha=choice(1,4)",
    "search=grid",
    "sweep.trials=3",
    "train.steps=2",
    "train.epochs=null",
    "train.validation_images=2",
    "sample.steps=2",
    "sample.prompts=[a red apple, a blue boat]",
    "launcher.slots=1",
)


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of three finished trials of two steps, with previews, contact sheets and their record."""
    folder = tmp_path_factory.mktemp("swept")
    command = [sys.executable, "-m", "sweeplora", *_WORDS]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs"


@pytest.fixture
def browser() -> Iterator[Watched]:
    """A browser 1500 pixels wide."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Watched(Path(profile))
        try:
            yield opened
        finally:
            opened.close()
