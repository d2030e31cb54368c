"""A toy history: the package's present files as the first commit of a repository, and commits that plant something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHO = {f"GIT_{role}_{what}": "toy@toy" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
PARTS = ("src", "conf", "sweeps", "baselines", "pyproject.toml", "constraints.txt")


class Toy:
    """A checkout of its own, whose package a command started by `python` runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                root.mkdir(exist_ok=True)
                shutil.copy(source, root / part)
        self.git("init", "--quiet", "--initial-branch=main")
        (root / ".gitignore").write_text("__pycache__/\n/runs/\n/night/\n")
        self.commit("Begin")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *words], env=os.environ | WHO, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        """Commit everything; returns the commit's id."""
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def change(self, file: str, before: str, after: str) -> None:
        """Replace a text that the file has exactly once."""
        path = self.root / file
        text = path.read_text()
        assert text.count(before) == 1, (file, before)
        path.write_text(text.replace(before, after))

    def python(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python with the toy's package."""
        environment = os.environ | {"PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=cwd or self.root, env=environment, capture_output=True, text=True, check=False
        )
