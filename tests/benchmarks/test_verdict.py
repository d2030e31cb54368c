"""The verdict and the rungs on the table of real trainings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_replays_of_real_trainings_keep_the_error_rates() -> None:
    words = [sys.executable, "benchmarks/verdict.py", "--replays", "1000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["settings"] >= 60
    assert found["equal_called_different"] <= 0.05
    assert found["rungs_keep_the_best_or_an_equal"] >= 0.95
    assert found["rungs_share_of_steps"] <= 0.45
    shares = list(found["difference_found"].values())
    assert shares == sorted(shares)
