from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


CHANGING = """
import json, logging, os, socket, sys, warnings
from pathlib import Path
from sweeplora.launch.workers import work

class Changing:
    found = []

    def fits(self, run):
        return True

    def train(self, run):
        logs = [logging.root.level, len(logging.root.handlers), len(logging.root.filters), logging.root.manager.disable]
        self.found.append([len(warnings.filters), logs, sys.path[0], os.getcwd(), os.environ.get("LEFT")])
        warnings.simplefilter("error")
        logging.basicConfig(level=logging.DEBUG)
        logging.root.addFilter(lambda record: False)
        logging.disable(logging.CRITICAL)
        sys.path.insert(0, "/elsewhere")
        os.chdir("/")
        os.environ["LEFT"] = "1"
        return 0

    def is_sound(self):
        return True

mine, theirs = socket.socketpair()
for name in ("a", "b"):
    os.mkdir(name)
    mine.sendall(json.dumps({"run": os.path.abspath(name), "env": {}}).encode() + b"\\n")
mine.shutdown(socket.SHUT_WR)
work(Changing(), theirs)
Path("found.json").write_text(json.dumps(Changing.found))
"""


def test_a_training_finds_warnings_logging_paths_and_environment_as_the_first_one_did(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CHANGING], cwd=tmp_path, check=True)
    first, second = json.loads((tmp_path / "found.json").read_text())
    assert first == second
