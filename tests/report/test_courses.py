from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.report.courses import MOST_POINTS, read_courses
from sweeplora.rundir.metrics import MetricsWriter


def test_a_long_course_is_thinned_and_every_validation_counts(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    with file.open("w") as stream:
        for step in range(5000):
            values = {"loss": 1.0 + step, "val/loss": float(step)} if step % 777 == 5 else {"loss": 1.0 + step}
            stream.write(json.dumps({"step": step, "time": 1.0, "values": values}) + "\n")
        stream.write('{"step": 9, "values": {"val/loss": NaN}, "time": 1}\n{"step": 5000, "ti')
    courses = read_courses(file, ["val/loss", "loss", "probe/loss"])
    assert courses["val/loss"] == [(step, float(step)) for step in range(5, 5000, 777)]
    assert len(courses["loss"]) == MOST_POINTS and "probe/loss" not in courses
    for step, value in courses["loss"]:  # the mean over the steps up to this one
        assert value == pytest.approx(step - 40, abs=60)


def test_a_short_course_is_whole_and_damage_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "time": 1, "values": {"loss": 3}}\n[]\nnonsense\n{"step": 2, "values": {"loss": 2}}\n')
    assert read_courses(file, ["loss"]) == {"loss": [(1, 3.0), (2, 2.0)]}
    assert read_courses(tmp_path / "none.jsonl", ["loss"]) == {}


def test_a_digit_that_changed_on_the_disk_is_in_no_course(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step, loss in ((1, 0.25), (2, 0.5)):
        MetricsWriter(file).write(step, {"loss": loss})
    file.write_bytes(file.read_bytes().replace(b"0.25", b"0.75"))
    assert read_courses(file, ["loss"]) == {"loss": [(2, 0.5)]}
