"""The command line: finds the verb and passes it the remaining words."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeplora.errors import UserError

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
_WITHOUT_A_VERB = "run"
_NOT_IN_A_VERB = "=~+-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 1 something failed, 2 refused, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the user's own classes, found as with `python -m`
    try:
        return _do(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except OSError as error:
        from sweeplora.rundir.disk import full_line, is_full_error

        if not is_full_error(error):
            raise
        print(full_line(Path(error.filename or "."), 1 << 20), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as left:  # argparse exits after printing a verb's help
        if left.code:
            raise
        return 0


def _do(given: list[str]) -> int:
    from sweeplora.commands import load, verbs

    here = Path.cwd()
    known = verbs(here)
    verb, words = _verb(given)
    if verb is None and ("--help" in words or "-h" in words):
        return _help(known)
    if verb is None and "--version" in words:
        return _version()
    verb = verb or _WITHOUT_A_VERB
    if verb not in known:
        from sweeplora.config.nearest import nearest
        from sweeplora.overrides import looks_like_a_key

        if looks_like_a_key(verb):
            raise UserError("command line", verb, f"neither a verb nor key=value; a key needs a value, {verb}=VALUE")
        raise UserError("command line", verb, f"neither a verb nor key=value; {nearest(verb, list(known))}")
    return load(verb, known[verb])(words)


def _verb(given: list[str]) -> tuple[str | None, list[str]]:
    """The verb, if the first word is one, and the words after it; None for an override or an option."""
    if given and given[0] and not set(given[0]) & set(_NOT_IN_A_VERB):
        return given[0], given[1:]
    return None, given


def _help(known: dict[str, Path]) -> int:
    from sweeplora.commands import summary
    from sweeplora.config.usage import usage

    print(usage({verb: summary(file) for verb, file in known.items()}, Path.cwd()), end="")
    return 0


def _version() -> int:
    from importlib import metadata

    try:
        print(f"sweeplora {metadata.version('sweeplora')}")
    except metadata.PackageNotFoundError as error:
        raise UserError("--version", "", "runs from a folder that is not installed; see its pyproject.toml") from error
    return 0


def process() -> int:
    """The process's entry point: `main` with robust output streams; 1 if printed output was lost."""
    from sweeplora.commands.output import Output

    output = Output()
    code = main()
    lost = output.lost()
    if lost is not None:
        print(f"standard output: {lost}", file=sys.stderr)
    return code or (FAILED if lost is not None else 0)


if __name__ == "__main__":
    sys.exit(process())
