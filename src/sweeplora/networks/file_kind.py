"""The format of one kind of adapter in a file, as data; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar

from sweeplora.tensors.stored import Stored


class HasShape(Protocol):
    """A tensor, or where one is stored in a file."""

    @property
    def shape(self) -> Sequence[int]:
        """Its sides."""


Sided = TypeVar("Sided", bound=HasShape)

_ANY_KIND = ("alpha", "dora_scale")


@dataclass(frozen=True)
class FileKind:
    """One kind of adapter in a file.

    `name` is used in messages. `adapter`: dotted name of the adapter class whose `file_update` computes the update
    from the tensors. `marks`: a layer with a tensor of one of these names is of this kind; if `num_dims` is set,
    that tensor must have this many dimensions. `forms`: alternative sets of required tensors; a layer has at least
    one set in full, and besides `optional`, `bias`, alpha and dora_scale nothing else. `products`: pairs of factors
    that are multiplied, the first's columns with the second's rows. `rank_sides`: the rank is the first dimension of
    the first of these that a layer has. `scaled`: the factors that alpha / rank is multiplied into, one in each
    product. `bias`: the tensor that is added to the layer's bias. `mergeable`: whether it can be merged into a base
    model. `exchanged`: two pairs of names that another form of the file exchanges. Here the first of the first pair
    has the layer's inputs as its rows, and the first of the second the outputs.
    """

    name: str
    adapter: str
    marks: tuple[str, ...]
    forms: tuple[tuple[str, ...], ...]
    num_dims: int | None = None
    products: tuple[tuple[str, str], ...] = ()
    rank_sides: tuple[str, ...] = ()
    scaled: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    bias: str | None = None
    mergeable: bool = True
    exchanged: tuple[tuple[str, str], tuple[str, str]] | None = None

    @property
    def _known(self) -> set[str]:
        """Every tensor that a layer of this kind may have."""
        named = {*chain.from_iterable(self.forms), *self.marks, *self.optional, *_ANY_KIND}
        return named if self.bias is None else named | {self.bias}

    def holds(self, tensors: Mapping[str, Stored]) -> bool:
        """Whether one layer's tensors are of this kind."""
        found = [tensors[mark] for mark in self.marks if mark in tensors]
        return any(self.num_dims is None or len(one.shape) == self.num_dims for one in found)

    def formed(self, tensors: Mapping[str, Sided], weight: Sequence[int]) -> dict[str, Sided]:
        """One layer's tensors by the names of this form, whichever form they have; `weight`: the shape of the layer's.

        If the shapes allow both, a linear layer's names are taken as exchanged, which is ComfyUI's rule.
        """
        if self.exchanged is None or len(weight) < 2:
            return dict(tensors)
        mixed, added = self.exchanged
        if not {*mixed, *added} <= tensors.keys():
            return dict(tensors)
        outputs, inputs = weight[:2]
        first, last = ([tuple(tensors[name].shape[:2]) for name in pair] for pair in (mixed, added))
        as_here = first[0][:1] == (inputs,) and last[0][:1] == (outputs,)
        as_there = first[0][1:] == (inputs,) and last[1][:1] == (outputs,)
        if not as_there or (as_here and len(weight) > 2):
            return dict(tensors)
        names = {name: other for pair in self.exchanged for name, other in (pair, pair[::-1])}
        return {names.get(name, name): value for name, value in tensors.items()}

    def damage(self, tensors: Mapping[str, Stored]) -> str | None:
        """Why a layer of this kind cannot be used: missing, foreign or mismatched tensors; None if it can be."""
        if not any(set(form) <= tensors.keys() for form in self.forms):
            lacking = min((set(form) - tensors.keys() for form in self.forms), key=len)
            return f"lacks {', '.join(sorted(lacking))}"
        foreign = sorted(tensors.keys() - self._known)
        if foreign:
            return f"has {', '.join(foreign)}, which is no part of {self.name}"
        for left, right in self.products:
            if left in tensors and right in tensors:
                columns, rows = tensors[left].shape[1:2], tensors[right].shape[:1]
                if columns != rows:
                    return f"{left} is {list(tensors[left].shape)} and {right} {list(tensors[right].shape)}"
        empty = next((name for name, stored in tensors.items() if 0 in stored.shape), None)
        return None if empty is None else f"{empty} is empty"


NORM = FileKind(
    name="norm",
    adapter="sweeplora.networks.adapters.rankless.NormAdapter",
    marks=("w_norm",),
    forms=(("w_norm", "b_norm"),),
    bias="b_norm",
)
"""A norm, which can train together with the layers of any algorithm."""
