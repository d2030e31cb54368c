"""What recording costs: the mirror's CPU beside a training's, and the time it adds to a run's start and end.

    python benchmarks/recording.py [--steps 100] [--rounds 1] [--set model=sdxl model.path=FOLDER ...]

Trains once with `tracking=none` to fill the caches, then with and without a record in turn. CPU seconds come from
/proc: of the mirror's process at three moments (when the run is known to the store, when the last step is logged, at
its end), and of everything else that the command started. Prints one JSON object a round: `share` is the mirror's
CPU between the first two moments per CPU second of the training, `start` and `end` its CPU before and after, and
`added` the wall-clock seconds from the command's start to the first logged step and from the training's result to the
command's end, each less the same without a record.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sweeplora.launch.process import descendants
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail

_POLL_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
COMMON = ["launcher.device=cpu", "launcher.slots=1", "launcher.threads=1", "reuse=false", "train.epochs=null"]


@dataclass
class Watched:
    """One command: CPU seconds of its processes by id as last seen, the mirror's at its moments, and when what was."""

    processors: dict[int, float] = field(default_factory=dict)
    mirror: int | None = None
    moments: dict[str, float] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)

    @property
    def training(self) -> float:
        """CPU seconds of everything but the mirror."""
        return sum(seconds for pid, seconds in self.processors.items() if pid != self.mirror)


def processor(pid: int) -> float | None:
    """CPU seconds of a process without its children; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def is_mirror(pid: int) -> bool:
    """Whether a process is the mirror."""
    try:
        return b"sweeplora.record" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def watch(words: list[str], run: RunDir, steps: int) -> Watched:
    """Run a command to its end and look at its processes all the while."""
    seen, began = Watched(), time.time()
    process = subprocess.Popen([sys.executable, "-m", "sweeplora", *words], stdout=subprocess.DEVNULL)
    tail, last = MetricsTail(run.metrics), 0
    while process.poll() is None:
        for pid in (process.pid, *descendants(process.pid)):
            seconds = processor(pid)
            if seconds is not None:
                seen.processors[pid] = max(seconds, seen.processors.get(pid, 0.0))
            if seen.mirror is None and is_mirror(pid):
                seen.mirror = pid
        for point in tail.poll():
            last = max(last, point.step)
            if point.key == "loss":
                seen.times.setdefault("first step", point.time - began)
        spent = seen.processors.get(seen.mirror or -1, 0.0)
        if (run.path / "mirror.json").exists():
            seen.moments.setdefault("known", spent)
        if last >= steps:
            seen.moments.setdefault("trained", spent)
        if run.result.exists():
            seen.times.setdefault("result", time.time())
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    seen.moments["ended"] = seen.processors.get(seen.mirror or -1, 0.0)
    seen.times["end"] = time.time() - seen.times["result"]
    return seen


def main() -> None:
    """Print the figures of each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        words = [f"runs={runs}", *COMMON, f"train.steps={asked.steps}", *asked.set]
        watch([*words, "tracking=none", "name=first", "train.steps=1"], RunDir(runs / "single/first"), 1)
        for number in range(asked.rounds):
            without = watch(
                [*words, "tracking=none", f"name=bare{number}"], RunDir(runs / f"single/bare{number}"), asked.steps
            )
            recorded = watch([*words, f"name=kept{number}"], RunDir(runs / f"single/kept{number}"), asked.steps)
            moments = recorded.moments
            told = {
                "training": recorded.training,
                "share": (moments["trained"] - moments["known"]) / recorded.training,
                "start": moments["known"],
                "end": moments["ended"] - moments["trained"],
                "added": [recorded.times[key] - without.times[key] for key in ("first step", "end")],
                "without": without.training,
            }
            print(json.dumps(told, default=float), flush=True)


if __name__ == "__main__":
    main()
