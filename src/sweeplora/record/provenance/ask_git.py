"""Asks git, whatever the user's environment and configuration say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeplora.record.provenance.secret import without_credentials

_SECONDS = 60
_SENTENCE_LENGTH = 500

# What a hook or an alias sets for its own command, and what would have git call programs of the user's.
NOT_OURS = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
NOT_OURS |= {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"}
NOT_OURS |= {"GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"}
# Do not refresh the index, since its owner may be committing, and fetch nothing.
_OURS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
_SETTINGS = ["core.quotePath=false", "core.fsmonitor=false", "diff.suppressBlankEmpty=false"]


class GitError(Exception):
    """Git failed; `str(error)` is its own message."""


def ask(folder: Path, *arguments: str) -> bytes:
    """Standard output of git in a folder; raises GitError if it fails or takes a minute (e.g. on a network drive)."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # importing GitPython fails without git
    from git.cmd import Git
    from git.exc import GitCommandNotFound

    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    command = ["git", "-C", str(folder), "--no-pager", *settings, *arguments]
    try:
        with _without(NOT_OURS):
            code, output, errors = Git().execute(
                command,
                env=_OURS,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=_SECONDS,
            )
    except GitCommandNotFound as error:
        raise GitError("git is not installed") from error
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror}") from error
    if code != 0:
        raise GitError(_sentence(errors) or f"git {arguments[0]} ended with exit code {code}")
    return output


@contextmanager
def _without(names: set[str]) -> Iterator[None]:
    """Remove these environment variables within the context: GitPython passes its whole environment to git."""
    kept = {name: os.environ.pop(name) for name in names & os.environ.keys()}
    try:
        yield
    finally:
        os.environ.update(kept)


def _sentence(errors: str) -> str:
    """Git's error message in one line."""
    lines = errors.encode(errors="replace").decode().splitlines()  # a path that is not UTF-8 is shown in part
    said = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
    return without_credentials("; ".join(said))[:_SENTENCE_LENGTH]
