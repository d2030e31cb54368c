"""Scores by triple: what is written is read, whatever happened to the file in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.scores import ScoresWriter, read_scores

NAMES = ("aa:8x8:0:17:0:epsilon", "aa:8x8:1:613:0:epsilon")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_losses_are_read_back_to_the_last_bit_and_in_the_order_of_their_steps(run: RunDir) -> None:
    assert read_scores(run) is None
    writer = ScoresWriter(run.scores, NAMES)
    losses = (0.1 + 0.2, 1 / 3)
    writer.write_base(losses)
    writer.write(8, (0.5, 0.25))
    writer.write(0, losses)
    found = read_scores(run)
    assert found is not None
    assert (found.triples, found.base) == (NAMES, losses)
    assert list(found.by_step.items()) == [(0, losses), (8, (0.5, 0.25))]


def test_a_second_attempt_goes_on_in_the_file_and_its_losses_count(run: RunDir) -> None:
    ScoresWriter(run.scores, NAMES).write(4, (1.0, 2.0))
    with run.scores.open("ab") as stream:
        stream.write(b'{"step": 8, "losses": [1.')
    found = read_scores(run)
    assert found is not None and list(found.by_step) == [4]
    ScoresWriter(run.scores, NAMES).write(4, (3.0, 4.0))
    assert run.scores.read_text().count("triples") == 1
    found = read_scores(run)
    assert found is not None and found.by_step == {4: (3.0, 4.0)}


def test_losses_of_other_triples_are_not_taken_for_these(run: RunDir) -> None:
    ScoresWriter(run.scores, NAMES).write(4, (1.0, 2.0))
    ScoresWriter(run.scores, NAMES[:1]).write(8, (3.0,))
    found = read_scores(run)
    assert found is not None
    assert (found.triples, found.by_step) == (NAMES[:1], {8: (3.0,)})


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"step": 2, "losses": [1.0]}',
        b'{"step": 2, "losses": [1.0, "2"]}',
        b'{"step": 2, "losses": [1.0, NaN]}',
        b'{"step": true, "losses": [1.0, 2.0]}',
        b'{"base": 3}',
        b'{"triples": []}',
        b"\xff\x00",
        b"[" * 100_000,
    ],
)
def test_a_line_of_another_shape_is_dropped(run: RunDir, line: bytes) -> None:
    ScoresWriter(run.scores, NAMES).write(1, (1.0, 2.0))
    with run.scores.open("ab") as stream:
        stream.write(line + b"\n")
    found = read_scores(run)
    assert found is not None
    assert (found.base, found.by_step) == (None, {1: (1.0, 2.0)})
