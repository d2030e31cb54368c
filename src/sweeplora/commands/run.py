"""Train once or run a sweep; the default for a command line without a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeplora.commands import Parser
from sweeplora.errors import UserError

if TYPE_CHECKING:
    from sweeplora.experiment import Configuration
    from sweeplora.nightly.settings import Nightly

_EXAMPLE = "python -m sweeplora run +sweep=rank_alpha sweep.name=mine data=folder data.dir=/my/pictures"


def main(words: list[str]) -> int:
    """Run the composed configuration; returns 0 if all went well, 1 if something failed, 130 if interrupted."""
    parser = Parser("run", __doc__ or "", _EXAMPLE)
    parser.add_argument("--cfg", action="store_true", help="print the configuration and run nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained, how long and where")
    parser.add_argument("overrides", nargs="*", help="key=value, group=choice, or +sweep=NAME")
    asked = parser.parse(words)
    if asked.cfg and asked.dry_run:
        raise UserError("--dry-run", "given", "has no effect beside --cfg, which runs nothing; give one of them")
    if asked.cfg:
        return _print_config(asked.overrides)
    return _dry_run(asked.overrides) if asked.dry_run else _run(asked.overrides)


def _dry_run(overrides: list[str]) -> int:
    from sweeplora.check.configuration import check
    from sweeplora.check.outlook import outlook
    from sweeplora.config.compose import compose
    from sweeplora.sweep.dry_run import Foresight, foretell

    night = _night(overrides)
    if night is not None:
        from sweeplora.nightly.dry_run import foretell_night

        print("\n".join(foretell_night(overrides, *night, (compose, check))))
        return 0
    print("\n".join(foretell(overrides, compose, Foresight(check, outlook))))
    return 0


def _print_config(overrides: list[str]) -> int:
    from sweeplora.config.compose import compose
    from sweeplora.sweep.search.grammar import split_command_line

    plain, _ = split_command_line(overrides)
    print(compose(plain).yaml, end="")
    return 0


def _run(overrides: list[str]) -> int:
    from sweeplora.sweep.startup import without_collections

    with without_collections():
        from sweeplora.check.configuration import check
        from sweeplora.check.outlook import outlook
        from sweeplora.config.compose import compose
        from sweeplora.launch.launcher import TRAINING
        from sweeplora.sweep.dry_run import is_dry
        from sweeplora.sweep.study import run

        night = _night(overrides)
    if night is None:
        return run(overrides, compose, check, outlook=outlook)
    if is_dry(night[0].config):
        return _dry_run(overrides)
    from sweeplora.nightly.night import run_night

    return run_night(overrides, *night, (compose, check, TRAINING))


def _night(overrides: list[str]) -> tuple[Configuration, Nightly] | None:
    """The configuration and settings of a night, if that is what the words ask for; other errors are found later."""
    from sweeplora.config.compose import compose
    from sweeplora.experiment import NotComposed
    from sweeplora.sweep.search.grammar import split_command_line

    if not any(word.startswith("+sweep=") for word in overrides):
        return None
    try:
        configuration = compose(split_command_line(overrides)[0])
    except NotComposed as error:
        if error.rest.config["nightly"] is not None:
            raise
        return None
    if configuration.config["nightly"] is None:
        return None
    from sweeplora.nightly.settings import read_nightly

    settings = read_nightly(configuration.config)
    assert settings is not None
    return configuration, settings
