"""The command line: compose, check, then one run or a study; and the smaller verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeplora.errors import UserError

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
_PORT = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; returns the exit code: 0 done, 1 something failed, 2 refused, 130 stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's own classes, as `python -m` finds them
    try:
        return _do(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


def _do(given: list[str]) -> int:
    if given[:1] == ["convert"] and given[1:2] not in (["--help"], ["-h"]):
        return _convert(given[1:])
    if "--help" in given or "-h" in given:
        return _help()
    if "--version" in given:
        return _version()
    if given[:1] == ["ui"]:
        return _ui(given[1:])
    if given[:1] == ["sync"]:
        return _sync(given[1:])
    if "--cfg" in given:
        return _print_config([word for word in given if word != "--cfg"])
    return _run(given)


def _help() -> int:
    from sweeplora.config.usage import usage

    print(usage(Path.cwd()), end="")
    return 0


def _version() -> int:
    from importlib import metadata

    try:
        print(f"sweeplora {metadata.version('sweeplora')}")
    except metadata.PackageNotFoundError as error:
        raise UserError("--version", "", "runs from a folder that is not installed; see its pyproject.toml") from error
    return 0


def _print_config(overrides: list[str]) -> int:
    from sweeplora.config.compose import compose
    from sweeplora.sweep.search.space import split_command_line

    plain, _ = split_command_line(overrides)
    print(compose(plain).yaml, end="")
    return 0


def _ui(words: list[str]) -> int:
    """Become MLflow's server, so that Ctrl-C and signals are its own."""
    from sweeplora.config.compose import compose
    from sweeplora.record.ui import ui

    port, overrides = _port(words)
    runs = Path(compose(overrides).config["runs"])
    if not (runs / "mlflow.db").is_file():
        raise UserError("runs", runs, "there is no record yet; run something first, or give runs=…")
    command = ui(runs, port)
    print(f"http://127.0.0.1:{port}", flush=True)
    os.execvpe(command.argv[0], command.argv, dict(command.env))


def _convert(words: list[str]) -> int:
    from sweeplora.convert.command import main as convert

    return convert(words)


def _sync(overrides: list[str]) -> int:
    """Bring the record up to date with every run folder, a line for each that could not be.

    Only what is said of `tracking` on this command line replaces what a folder's own configuration says.
    """
    from sweeplora.config.binding import check_node
    from sweeplora.config.compose import compose
    from sweeplora.record.sync import sync

    config = compose(overrides).config
    check_node("tracking", config["tracking"])
    said = {word.partition("=")[0].lstrip("+") for word in overrides}
    changed = {key: value for key, value in config["tracking"].items() if f"tracking.{key}" in said}
    troubles = sync(Path(config["runs"]), changed)
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return FAILED if troubles else 0


def _port(words: list[str]) -> tuple[int, list[str]]:
    """The port asked for by `--port N` or `--port=N`, and the words that are left."""
    flags = [word for word in words if word.partition("=")[0] == "--port"]
    if not flags:
        return _PORT, words
    at = words.index(flags[-1])
    joined = "=" in words[at]
    number = words[at].partition("=")[2] if joined else "".join(words[at + 1 : at + 2])
    if not number.isdigit() or not 0 < int(number) < 1 << 16:
        raise UserError("--port", number, "give a port number, e.g. --port 5000")
    return int(number), [*words[:at], *words[at + (1 if joined else 2) :]]


def _run(overrides: list[str]) -> int:
    from sweeplora.check.configuration import check
    from sweeplora.config.compose import compose
    from sweeplora.sweep.study import run

    return run(overrides, compose, check)


if __name__ == "__main__":
    sys.exit(main())
