"""What a block measures, from the files that a training leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.nightly.blocks import Block, counted_steps, measured_of, waited_share


def metrics(folder: Path, times: list[float]) -> Path:
    lines = [{"step": step, "time": time, "values": {"loss": 1.0}} for step, time in enumerate(times, 1)]
    lines.insert(0, {"step": 0, "time": 5.0, "values": {"val/loss": 1.0}})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_steps_count_from_the_end_of_the_warm_up_to_the_last_one(tmp_path: Path) -> None:
    folder = metrics(tmp_path, [10.0, 20.0, 20.5, 21.0, 22.5])
    assert counted_steps(folder, 2) == (20.0, 22.5, 3)
    for warm_up in (5, 6):
        assert counted_steps(folder, warm_up) is None


def test_the_wait_for_a_core_is_that_of_the_counted_steps_alone() -> None:
    waits = [(10.0, 1.0), (19.0, 7.0), (20.0, 7.0), (21.0, 7.5), (22.0, 7.5), (23.0, 9.0)]
    assert waited_share(waits, 20.0, 22.0) == pytest.approx(0.25)
    assert waited_share(waits, 20.5, 21.0) == pytest.approx(0.5)
    assert waited_share([], 20.0, 22.0) == 0.0


def test_the_peak_of_a_side_is_not_that_of_the_one_block_that_held_more() -> None:
    peaks = [900, 900, 1500, 900, 900, 901]
    assert measured_of([Block(0.1, 0.0, peak) for peak in peaks]).peak_bytes == 900
    assert measured_of([Block(0.1, 0.0, None)] * 6).peak_bytes is None
