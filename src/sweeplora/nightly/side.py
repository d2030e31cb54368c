"""One side of a comparison: a checkout of the package, and the process that trains with it on request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import sweeplora
from sweeplora.launch.process import inherited, signal_family
from sweeplora.launch.slot import Slot

PROGRAM = Path(__file__).with_name("side_program.py")

Status = Literal["finished", "failed", "refused", "diverged", "interrupted", "broken", "died"]
"""How a training of a side ended: as its result says; `broken`: the package does not run; `died`: the process ended."""

_CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class Tree:
    """A source tree of the package, and the interpreter that has what it depends on."""

    name: str
    source: Path
    python: Path

    @classmethod
    def present(cls) -> Tree:
        """The package that runs this, with uncommitted changes and all."""
        return cls("now", Path(sweeplora.__file__).resolve().parents[1], Path(sys.executable))


@dataclass(frozen=True)
class Place:
    """Where a side works. `compose`: the folder whose conf/ and sweeps/ come first; `here`: the training's own."""

    compose: Path
    here: Path
    log: Path
    slot: Slot


class Answer(NamedTuple):
    """How one training ended. `peak_bytes`: the process's peak meanwhile.

    `waits`: if it was watched, pairs of a time and the seconds that it had waited for a free core until then.
    """

    status: Status
    message: str = ""
    waits: Sequence[tuple[float, float]] = ()
    peak_bytes: int | None = None


class Side:
    """The living process of a tree: trains one run folder after another, and waits on a pipe in between."""

    def __init__(self, tree: Tree, place: Place) -> None:
        self.tree = tree
        order = {
            "compose": str(place.compose),
            "here": str(place.here),
            "log": str(place.log),
            "slot": asdict(place.slot),
        }
        self._process = subprocess.Popen(
            [str(tree.python), "-P", "-c", PROGRAM.read_text(), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(tree, place.slot),
            cwd=place.here,
            text=True,
            start_new_session=True,
        )
        self._ready: Answer | None = None

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def train(self, words: Sequence[str], run: Path, watch: bool = False) -> Answer:
        """Train a new run folder as the words compose in this tree, to its end; `watch`: with `Answer.waits`."""
        if self._ready is None:
            self._ready = self._heard()
        if self._ready.status != "finished":
            return self._ready
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"words": list(words), "run": str(run), "watch": watch}) + "\n")
            self._process.stdin.flush()
        return self._heard()

    def close(self) -> None:
        """End the process and whatever it started."""
        if self._process.poll() is None:
            signal_family(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                signal_family(self._process.pid, signal.SIGKILL)
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _heard(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Answer("died", f"the process of {self.tree.name} ended with {ended}")
        said = json.loads(line)
        return Answer("finished") if said["status"] == "ready" else Answer(**said)


def _environment(tree: Tree, slot: Slot) -> dict[str, str]:
    """The slot's environment, in which the tree's package comes first and no supervisor is looked for."""
    paths = [str(tree.source), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"SWEEPLORA_SUPERVISED": "0", "PYTHONPATH": os.pathsep.join(paths)}
    return inherited(os.environ) | slot.environment() | own
