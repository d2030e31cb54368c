"""A step's time and memory are judged by the numbers of their blocks, as SciPy and NumPy count them too."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from sweeplora.launch.slot import Slot
from sweeplora.nightly.criterion import Verdict
from sweeplora.nightly.speed import (
    MEMORY,
    STEP,
    Measured,
    from_json,
    is_open,
    judge,
    machine_key,
    shift,
    to_json,
)

MIB = 1 << 20
QUIET = (0.100, 0.101, 0.099, 0.1005, 0.0995, 0.1002)


def side(*seconds: float, peak: int | None = 1000 * MIB, waited: float = 0.0) -> Measured:
    return Measured(seconds, (waited,) * len(seconds), peak)


def slower(factor: float) -> Measured:
    return side(*(factor * value for value in QUIET))


def verdicts(then: Measured, now: Measured, interleaved: bool = True) -> dict[str, Verdict]:
    return {one.metric: one.verdict for one in judge("locon", then, now, "abc", interleaved)}


def test_ratio_interval_and_p_are_those_of_an_independent_calculation() -> None:
    random = np.random.default_rng(3)
    then, now = random.normal(1.0, 0.02, 8), random.normal(1.06, 0.02, 9)
    found = shift(list(then), list(now))
    assert found.ratio == pytest.approx(np.median(now) / np.median(then))
    # Every pair counted by hand: U is how many blocks of `now` are slower.
    u = sum(float(a > b) for a in now for b in then)
    exact = mannwhitneyu(now, then, alternative="greater", method="exact")
    assert exact.statistic == u
    assert found.slower == pytest.approx(exact.pvalue)
    low, high = found.interval
    hodges_lehmann = statistics.median(a / b for a in now for b in then)
    assert low < hodges_lehmann < high
    assert low < 1.06 < high


def test_interval_holds_the_true_ratio_about_nine_times_of_ten() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = shift(list(random.normal(1, 0.03, 6)), list(random.normal(1.1, 0.033, 6))).interval
        held += low < 1.1 < high
    assert 0.84 < held / 300 < 0.97


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, Verdict.PASS), (1.04, Verdict.PASS), (1.10, Verdict.REGRESSED), (0.90, Verdict.IMPROVED)],
)
def test_a_step_regresses_above_five_percent(factor: float, verdict: Verdict) -> None:
    assert verdicts(side(*QUIET), slower(factor))[STEP] is verdict


def test_a_slower_median_without_certainty_asks_for_more_blocks_and_is_inconclusive() -> None:
    then, now = side(1.0, 1.0, 1.0, 1.3, 1.3, 1.3), side(1.0, 1.0, 1.3, 1.3, 1.3, 1.3)
    assert is_open(then, now)
    assert verdicts(then, now)[STEP] is Verdict.INCONCLUSIVE
    assert not is_open(side(*QUIET), slower(1.1))


def test_one_disturbed_block_moves_neither_median_nor_verdict() -> None:
    assert verdicts(side(*QUIET), side(*QUIET[:-1], 0.4))[STEP] is Verdict.PASS


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (1000 * MIB, 1100 * MIB, Verdict.REGRESSED),
        (1000 * MIB, 1060 * MIB, Verdict.PASS),  # 6 %, but 60 MiB
        (4000 * MIB, 4150 * MIB, Verdict.PASS),  # 150 MiB, but 4 %
        (1100 * MIB, 1000 * MIB, Verdict.IMPROVED),
    ],
)
def test_memory_regresses_above_both_limits(then: int, now: int, verdict: Verdict) -> None:
    assert verdicts(side(*QUIET, peak=then), side(*QUIET, peak=now))[MEMORY] is verdict


def test_memory_that_nobody_could_read_is_not_judged() -> None:
    assert MEMORY not in verdicts(side(*QUIET, peak=None), side(*QUIET))


def test_another_days_blocks_say_nothing_of_a_busy_machine() -> None:
    slow = side(*slower(1.1).step_seconds, waited=0.2)
    assert verdicts(side(*QUIET), slow, interleaved=False)[STEP] is Verdict.INCONCLUSIVE
    assert verdicts(side(*QUIET), slow, interleaved=True)[STEP] is Verdict.REGRESSED  # it competes with itself


def test_what_both_sides_wait_for_a_core_does_not_count() -> None:
    """Blocks between a free machine and one that is five times too busy: only what the code takes is compared."""
    random = np.random.default_rng(5)

    def busy(code: float) -> Measured:
        shares = random.uniform(0.3, 0.8, 8)
        takes = random.normal(code, 0.005, 8)
        return Measured(tuple(takes / (1 - shares)), tuple(shares), 1000 * MIB)

    assert verdicts(busy(0.1), busy(0.1))[STEP] is Verdict.PASS
    assert verdicts(busy(0.1), busy(0.115))[STEP] is Verdict.REGRESSED
    (step, _) = judge("locon", busy(0.1), busy(0.1), "abc", True)
    assert step.now == pytest.approx(0.1, rel=0.1)
    assert "which does not count" in step.sentence


def test_a_baselines_blocks_come_back_from_json_and_damaged_ones_do_not() -> None:
    written = to_json(side(*QUIET, waited=0.01))
    assert from_json(written) == side(*QUIET, waited=0.01)
    for broken in (None, {}, written | {"step_seconds": [0.1] * 5}, written | {"step_seconds": [float("nan")] * 6}):
        assert from_json(broken) is None
    for key, value in (("peak_bytes", "much"), ("waited", [0.0] * 5), ("waited", [1.5] * 6)):
        assert from_json(written | {key: value}) is None


def test_a_new_driver_is_the_same_machine_and_another_gpu_is_not() -> None:
    machine = {"processor": "CPU", "cores": 8, "memory_mib": 32100, "gpus": ["NVIDIA X, 24564 MiB, 580.1"]}
    on_gpu, on_cpu = Slot(0, 1, 8, "cuda", ("0",)), Slot(0, 1, 8, "cpu", ())
    key = machine_key(machine, on_gpu)
    assert key == machine_key(machine | {"gpus": ["NVIDIA X, 24564 MiB, 590.2"]}, on_gpu)
    assert key == "CPU, 8 cores, 31 GiB, NVIDIA X, 24564 MiB, 1 x 8 threads"
    others = [machine | {"gpus": ["NVIDIA Y, 24564 MiB, 580.1"]}, machine | {"cores": 4}, machine | {"processor": "B"}]
    assert len({machine_key(one, on_gpu) for one in [machine, *others]} | {machine_key(machine, on_cpu)}) == 5
