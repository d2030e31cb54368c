"""Words that a verb which trains one recorded run refuses, since they are about a study."""

from __future__ import annotations

from collections.abc import Sequence

from sweeplora.errors import UserError

_OF_A_STUDY = ("sweep", "search", "pruner", "nightly")
_MEANT_FOR_ONE_RUN = ("sweep.objective",)


def key_of(word: str) -> str:
    """The key of a word of the command line, without what adds or deletes it."""
    return word.partition("=")[0].strip().lstrip("+~")


def refuse_study_words(words: Sequence[str], verb: str) -> None:
    """Raise UserError for the first word that only a study reads."""
    for word in words:
        key = key_of(word)
        group = key.partition("@")[0].partition(".")[0]
        if group not in _OF_A_STUDY or key in _MEANT_FOR_ONE_RUN:
            continue
        mend = f"`{verb}` trains one run and searches nothing; leave it out"
        if word.endswith("pruner=patient"):
            mend += ", or give train.patience=3, which is what it sets"
        raise UserError(key, word.partition("=")[2], mend)
