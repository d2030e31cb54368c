"""Over a history of 8 commits, trained for real, the one that doubles the learning rate in conf/ is found."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.nightly.toy import Toy

SEARCH = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from sweeplora.nightly.which_commit import AskedRange, search_commits

folder = Path(sys.argv[2])
words = ["tracking=none", "launcher.device=cpu", "launcher.threads=1"]
words += ["train.epochs=null", "train.steps=8", "train.batch_size=2"]
words += ["train.validation_images=4", "train.probe_images=0"]
asked = AskedRange(sys.argv[1], words, {"locon": ["network=locon"]}, range(5), folder / "bisect", folder)
criteria = search_commits(asked, lambda line: print(line, file=sys.stderr))
print(json.dumps([asdict(one) for one in criteria]))
"""

RATE = "conf/optimizer/adamw.yaml"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Tags good and 1 to 8; 4 does not run, 6 doubles the rate."""
    toy = Toy(tmp_path_factory.mktemp("history") / "toy")
    toy.change(RATE, "lr: 2e-3", "lr: 3e-2")
    toy.commit("Use a rate near the edge")
    toy.git("tag", "good")
    loop = "src/sweeplora/training/loop.py"
    for number in range(1, 9):
        if number == 4:
            toy.change(loop, "import math\n", "import math, no_such_module\n")
        elif number == 5:
            toy.change(loop, "import math, no_such_module\n", "import math\n")
        elif number == 6:
            toy.change(RATE, "lr: 3e-2", "lr: 6e-2")
        else:
            (toy.root / "src/sweeplora/training/loop.py").open("a").write(f"# {number}\n")
        toy.commit({4: "Break it", 5: "Mend it", 6: "Double the rate"}.get(number, f"Comment {number}"))
        toy.git("tag", f"{number}")
    return toy


def searched(toy: Toy, written: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    done = toy.python("-c", SEARCH, written, str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stderr)
    return done, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_commit_that_doubles_the_rate_is_found_past_one_that_does_not_run(toy: Toy, tmp_path: Path) -> None:
    (toy.root / RATE).open("a").write("# being edited\n")
    before = toy.git("status", "--porcelain=v2", "--branch")
    done, (answer,) = searched(toy, "good..main", tmp_path)
    assert toy.git("rev-parse", "6")[:12] in answer["sentence"]
    assert "Double the rate" in answer["sentence"]
    assert (answer["configuration"], answer["verdict"]) == ("locon", "REGRESSED")
    assert answer["p"] < 0.01
    assert answer["effect"] > 0.02
    assert f"{toy.git('rev-parse', '4')[:12]} is skipped" in done.stderr
    assert toy.git("status", "--porcelain=v2", "--branch") == before
    assert len(toy.git("worktree", "list").splitlines()) == 1

    logs = {path: path.stat().st_size for path in (tmp_path / "bisect" / "locon").glob("*.log")}
    assert logs
    _, (again,) = searched(toy, "good..8", tmp_path)
    assert again["sentence"] == answer["sentence"]
    assert {path: path.stat().st_size for path in logs} == logs, "something was trained a second time"
