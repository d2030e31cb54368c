from __future__ import annotations

import subprocess
import sys

GROWING = """
from sweeplora.launch.workers import Memory

memory = Memory()
said = []
kept = []
for size in (20, 0, 0, 10, 150):
    kept.append(b"x" * (size << 20))
    said.append(memory.has_grown())
del kept[-1]
said.append(memory.has_grown())
print(said)
"""


def test_a_process_has_grown_once_it_keeps_clearly_more_than_after_its_first_trainings() -> None:
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, check=True)
    assert done.stdout.split("[")[1] == "False, False, False, False, True, False]\n"
