"""A folder with the baselines of the small night, made once; tests copy what they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nightly.nights import with_baseline


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a night of ten seeds became the baseline."""
    folder = tmp_path_factory.mktemp("accepted")
    with_baseline(folder)
    return folder
