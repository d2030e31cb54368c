"""Train once or run a sweep; the default for a command line without a verb."""

from __future__ import annotations

from sweeplora.commands import Parser

_EXAMPLE = "python -m sweeplora run +sweep=rank_alpha sweep.name=mine data=folder data.dir=/my/pictures"


def main(words: list[str]) -> int:
    """Run the composed configuration; returns 0 if all went well, 1 if something failed, 130 if interrupted."""
    parser = Parser("run", __doc__ or "", _EXAMPLE)
    parser.add_argument("--cfg", action="store_true", help="print the configuration and run nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained, how long and where")
    parser.add_argument("overrides", nargs="*", help="key=value, group=choice, or +sweep=NAME")
    asked = parser.parse(words)
    if asked.cfg:
        return _print_config(asked.overrides)
    return _dry_run(asked.overrides) if asked.dry_run else _run(asked.overrides)


def _dry_run(overrides: list[str]) -> int:
    from sweeplora.check.configuration import check
    from sweeplora.config.compose import compose
    from sweeplora.sweep.dry_run import foretell

    print("\n".join(foretell(overrides, compose, check)))
    return 0


def _print_config(overrides: list[str]) -> int:
    from sweeplora.config.compose import compose
    from sweeplora.sweep.search.grammar import split_command_line

    plain, _ = split_command_line(overrides)
    print(compose(plain).yaml, end="")
    return 0


def _run(overrides: list[str]) -> int:
    from sweeplora.check.configuration import check
    from sweeplora.config.compose import compose
    from sweeplora.sweep.study import run

    return run(overrides, compose, check)
