"""Trials that are asked for and told: what a driver needs of whoever decides what to train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sweeplora.rundir.record import TrialOutcome
from sweeplora.sweep.search.proposals import Proposal

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class AskedTrial(NamedTuple):
    """One trial as its asker and sweeplora know it; `trial`: Optuna's, where Optuna asked.

    `ended`: Optuna's stored result of a trial that is trained again because its folder was lost.
    """

    number: int
    proposal: Proposal
    trial: optuna.Trial | None = None
    ended: FrozenTrial | None = None
    came_back: bool = False
    """Optuna knows it as pruned; it goes on from its state."""


class Trials(Protocol):
    """The trials of a study, in the order in which they are to be trained."""

    def left(self) -> list[AskedTrial]:
        """Trials that a driver started and did not end."""

    def counted(self) -> int:
        """How many trials have ended."""

    def ask(self) -> AskedTrial | None:
        """The next trial; None if there is none, or none for now."""

    def report(self, asked: AskedTrial, step: int, value: float) -> bool:
        """Report an intermediate value; True if the trial should stop."""

    def tell(self, asked: AskedTrial, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """End a trial; `errors` are standard errors of its values where these are means over seeds."""

    def pruned(self) -> list[AskedTrial]:
        """Trials that stopped early and may go on."""
