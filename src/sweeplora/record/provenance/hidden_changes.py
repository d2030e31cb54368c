"""Changed files that git calls unchanged, because it was told not to look at them."""

from __future__ import annotations

import os
from pathlib import Path

from sweeplora.record.provenance.ask_git import GitError, ask

_MOST = 1000


def hidden_changes(root: Path) -> list[str]:
    """Tracked files of the checkout that differ from its index and are marked assume-unchanged or skip-worktree.

    Looks at the first thousand marked files that exist. Raises GitError if git refuses.
    """
    marked = [line for line in ask(root, "ls-files", "-v", "-z").split(b"\0") if line[:1].islower() or line[:1] == b"S"]
    names = [os.fsdecode(line[2:]) for line in marked]
    names = [name for name in names if (root / name).is_file() and not (root / name).is_symlink()][:_MOST]
    if not names:
        return []
    entries = [entry.split(b"\t", 1) for entry in ask(root, "ls-files", "-s", "-z", "--", *names).split(b"\0") if entry]
    staged = {os.fsdecode(name): about.split(b" ")[1] for about, name in entries}
    hashes = ask(root, "hash-object", "--", *names).split()
    if len(hashes) != len(names):
        raise GitError("git hash-object left files out")
    return [name for name, found in zip(names, hashes, strict=True) if staged.get(name) != found]
