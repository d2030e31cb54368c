"""The verdict and the rungs on the table of real trainings."""

from __future__ import annotations

import json
import math
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
    wide, long, steady = found["wide"], found["long"], found["long_steady"]
    assert min(wide["settings"], long["settings"]) >= 60
    assert (wide["seeds"], long["seeds"]) == (5, 5)
    for table in (wide, long, steady):
        assert table["equal_called_different"] <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)  # of so many replays
        assert table["with_looks"]["equal_called_different"] <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)
        shares = list(table["difference_found"].values())
        assert shares == sorted(shares)
    assert steady["settings_near_the_best"] >= 10
    assert steady["difference_found"]["2%"] >= 0.9
    assert long["difference_found"]["5%"] >= 0.9
    assert wide["rungs_keep_the_best_or_an_equal"] >= 0.95
    assert wide["rungs_share_of_steps"] <= 0.45
    alone, by_rank = wide["by_rank"]["without"], wide["by_rank"]["with"]
    assert alone["every_rank_comes_to_its_end"] < by_rank["every_rank_comes_to_its_end"] == 1
    assert by_rank["best_of_a_rank_or_an_equal"] >= 0.95
    assert by_rank["share_of_steps"] <= 0.47
