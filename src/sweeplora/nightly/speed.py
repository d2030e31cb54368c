"""Is a step slower, or its peak memory larger? Blocks of steps of two sides; numbers in, criteria out.

A block is a short training, and its value the mean seconds of its steps without the first ones. Two sides are compared
by the ratio of the medians of their blocks and by the test of Mann and Whitney (1947), so a block that something else
disturbed moves neither. While other programs keep both sides waiting for a core, that wait is not the code's, and does
not count.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sweeplora.launch.slot import Slot
from sweeplora.nightly.criterion import Criterion, Verdict

STEP, MEMORY = "step_seconds", "peak_memory"
FEWEST_BLOCKS = 6
SLOWER, P = 0.05, 0.01
"""A step has regressed if it takes longer by more than this share, with p below that."""

LARGER, LARGER_BYTES = 0.05, 64 << 20
"""Peak memory has regressed if it grew by more than both."""

BUSY = 0.05
"""Above this share of time without a free core the machine was busy. One side alone that waits competes with itself."""

_NORMAL_90 = 1.644854
_DIGITS = 6


@dataclass(frozen=True)
class Measured:
    """A side's blocks: mean seconds of a step in each, the share of them without a free core; and peak memory in bytes.

    `peak_bytes`: None where it cannot be told.
    """

    step_seconds: tuple[float, ...]
    waited: tuple[float, ...]
    peak_bytes: int | None

    @property
    def was_busy(self) -> bool:
        """Whether the process waited for a core, in half of the blocks."""
        return statistics.median(self.waited) > BUSY

    @property
    def without_waiting(self) -> tuple[float, ...]:
        """Seconds of a step in each block without those in which no core was free."""
        return tuple(value * (1 - share) for value, share in zip(self.step_seconds, self.waited, strict=True))


def to_json(measured: Measured) -> dict[str, Any]:
    """What a baseline keeps for one machine."""
    return {
        "step_seconds": [_rounded(value) for value in measured.step_seconds],
        "waited": [_rounded(value) for value in measured.waited],
        "peak_bytes": measured.peak_bytes,
    }


def from_json(data: object) -> Measured | None:
    """The opposite of `to_json`; None for anything else, such as too few blocks or a number that is not one."""
    if not isinstance(data, Mapping):
        return None
    blocks, waited, peak = (data.get(key) for key in ("step_seconds", "waited", "peak_bytes"))
    if not isinstance(blocks, list) or len(blocks) < FEWEST_BLOCKS or not all(map(_is_positive, blocks)):
        return None
    if not isinstance(waited, list) or len(waited) != len(blocks) or not all(map(_is_share, waited)):
        return None
    if not (peak is None or _is_positive(peak)):
        return None
    return Measured(tuple(map(float, blocks)), tuple(map(float, waited)), peak)


def machine_key(machine: Mapping[str, Any], slot: Slot) -> str:
    """What makes two measurements comparable: processor, cores, memory, GPUs, processes and threads, as one line.

    `machine`: `processor`, `cores`, `memory_mib` and `gpus`, each of those "name, memory, driver version". The driver
    is left out: it may be what made training slower.
    """
    gpus = [gpu.rpartition(",")[0].strip() or gpu for gpu in machine["gpus"]] if slot.device == "cuda" else []
    gib = round(machine["memory_mib"] / 1024)
    parts = [machine["processor"], f"{machine['cores']} cores", f"{gib} GiB", *(gpus or ["no GPU"])]
    return ", ".join([*parts, f"{slot.processes} x {slot.threads} threads"])


class Shift(NamedTuple):
    """`now` against `then`: ratio of medians, 90 % interval of the ratio, and one-sided p of slower and of faster."""

    ratio: float
    interval: tuple[float, float]
    slower: float
    faster: float


def shift(then: Sequence[float], now: Sequence[float]) -> Shift:
    """Compare the blocks of two sides, seconds; the p values are Mann and Whitney's.

    The interval is that of Hodges and Lehmann for the ratio of two blocks, by the normal approximation of its ranks
    (Hollander, Wolfe and Chicken 2014, section 4.3).
    """
    from scipy.stats import mannwhitneyu

    ratio = statistics.median(now) / statistics.median(then)
    slower = float(mannwhitneyu(now, then, alternative="greater").pvalue)
    faster = float(mannwhitneyu(now, then, alternative="less").pvalue)
    return Shift(ratio, _interval(then, now), slower, faster)


def _interval(then: Sequence[float], now: Sequence[float]) -> tuple[float, float]:
    m, n = len(then), len(now)
    ratios = np.sort(np.divide.outer(np.asarray(now), np.asarray(then)).ravel())
    place = max(0, math.floor(m * n / 2 - _NORMAL_90 * math.sqrt(m * n * (m + n + 1) / 12)))
    return float(ratios[place]), float(ratios[m * n - 1 - place])


def counted(then: Measured, now: Measured) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The seconds of a step that are compared: without waiting for a core where both sides had to."""
    if then.was_busy and now.was_busy:
        return then.without_waiting, now.without_waiting
    return then.step_seconds, now.step_seconds


def is_open(then: Measured, now: Measured) -> bool:
    """Whether more blocks are needed: slower by more than the limit, and not yet with enough certainty."""
    found = shift(*counted(then, now))
    return found.ratio > 1 + SLOWER and found.slower >= P


def judge(configuration: str, then: Measured, now: Measured, side: str, interleaved: bool) -> list[Criterion]:
    """The criteria of step time and peak memory; `side`: whose blocks `then` are.

    `interleaved`: both were measured in turn. If not, a slower step on a machine that was busy is INCONCLUSIVE.
    """
    found = [_judge_step(configuration, then, now, (side, interleaved))]
    if then.peak_bytes is not None and now.peak_bytes is not None:
        found.append(_judge_memory(configuration, then.peak_bytes, now.peak_bytes, side))
    return found


def _judge_step(configuration: str, then: Measured, now: Measured, against: tuple[str, bool]) -> Criterion:
    side, interleaved = against
    before, after = counted(then, now)
    found = shift(before, after)
    verdict, why = _verdict(found)
    if then.was_busy or now.was_busy:
        shares = [f"{statistics.median(one.waited):.0%}" for one in (now, then)]
        why = f"{why}; the machine was busy, no core was free for {' and '.join(shares)} of the time"
        why += ", which does not count" if before != then.step_seconds else ""
        if verdict is Verdict.REGRESSED and not interleaved:
            verdict = Verdict.INCONCLUSIVE
    p = found.faster if found.ratio < 1 else found.slower
    low, high = found.interval
    count = f"{len(then.step_seconds)} + {len(now.step_seconds)} blocks"
    earlier, later = statistics.median(before), statistics.median(after)
    sentence = (
        f"a step takes {_milliseconds(later)}, with {side} {_milliseconds(earlier)}: {_percent(found.ratio)} "
        f"(90 % interval {_percent(low)} to {_percent(high)}, Mann-Whitney p {p:.2g} over {count}); {why}"
    )
    return Criterion(
        configuration=configuration,
        metric=STEP,
        verdict=verdict,
        baseline=earlier,
        now=later,
        effect=found.ratio - 1,
        interval=(low - 1, high - 1),
        p=p,
        corrected=p,
        limit=SLOWER,
        seeds=len(now.step_seconds),
        sentence=sentence,
    )


def _verdict(found: Shift) -> tuple[Verdict, str]:
    limit = f"the limit is {SLOWER:.0%} with p < {P}"
    if found.ratio > 1 + SLOWER:
        return (Verdict.REGRESSED if found.slower < P else Verdict.INCONCLUSIVE), limit
    if found.ratio < 1 / (1 + SLOWER) and found.faster < P:
        return Verdict.IMPROVED, limit
    return Verdict.PASS, limit


def _judge_memory(configuration: str, then: int, now: int, side: str) -> Criterion:
    ratio, grown = now / then, now - then
    verdict = Verdict.PASS
    if ratio > 1 + LARGER and grown > LARGER_BYTES:
        verdict = Verdict.REGRESSED
    elif ratio < 1 / (1 + LARGER) and -grown > LARGER_BYTES:
        verdict = Verdict.IMPROVED
    sentence = (
        f"peak memory is {_mebibytes(now)}, with {side} {_mebibytes(then)}: {_percent(ratio)}, "
        f"{grown / 2**20:+.0f} MiB; "
        f"the limit is {LARGER:.0%} and {LARGER_BYTES >> 20} MiB"
    )
    return Criterion(
        configuration=configuration,
        metric=MEMORY,
        verdict=verdict,
        baseline=float(then),
        now=float(now),
        effect=ratio - 1,
        limit=LARGER,
        seeds=1,
        sentence=sentence,
    )


def _is_positive(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(float(value)) and float(value) > 0  # type: ignore[arg-type]


def _is_share(value: object) -> bool:
    return value == 0 or (_is_positive(value) and float(value) <= 1)  # type: ignore[arg-type]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.4g} ms"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
