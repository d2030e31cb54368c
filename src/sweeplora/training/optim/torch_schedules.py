"""A torch learning-rate scheduler as a schedule: its rates are read from a dummy optimizer."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch.optim import Adagrad
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sweeplora.errors import UserError
from sweeplora.training.optim.schedules import Schedule


def stepped(make: Any, base: Annotated[float, Gt(0)]) -> Schedule:
    """The multiplier that `make(optimizer)`, an LRScheduler, applies to an optimizer with the rate `base`.

    It is stepped once per optimizer step on a dummy optimizer and its results are cached, so the multiplier is a
    function of the step, equal for all groups. Raises UserError for a scheduler that refuses its arguments, changes
    more than learning rates (momentum), or needs a metric.
    """
    # Adagrad has no momentum, so a scheduler that would change momentum fails instead of changing it unnoticed.
    optimizer = Adagrad([torch.nn.Parameter(torch.zeros(()))], lr=base)
    name = str(make.func.__name__)
    try:
        scheduler = make(optimizer)
    except (TypeError, ValueError) as error:
        raise UserError("scheduler.make", name, str(error)) from error
    if isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler):
        raise UserError("scheduler.make", name, "give a torch scheduler that only counts steps")
    known: list[float] = [optimizer.param_groups[0]["lr"] / base]

    def multiplier(step: int, num_steps: int) -> float:
        while len(known) <= step:
            optimizer.step()
            scheduler.step()
            known.append(optimizer.param_groups[0]["lr"] / base)
        return known[step]

    return multiplier
