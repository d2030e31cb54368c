"""Trainings on a real GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeplora.launch.gpus import visible_gpus
from tests.run.trainings import Trainings, preloaded


@pytest.fixture(scope="session")
def on_gpu(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> Iterator[Trainings]:
    """What `trainings` is, on the first GPU."""
    made = Trainings(
        tmp_path_factory.mktemp("gpu-runs"), tiny_model, pictures, preloaded("cuda"), gpus=visible_gpus()[:1]
    )
    yield made
    made.close()
