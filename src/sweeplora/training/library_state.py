"""What libraries are made of in memory: functions and classes that a user's part could put others in place of."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

_WATCHED = (
    *(
        "torch",
        "torch.functional",
        "torch._tensor",
        "torch.nn",
        "torch.optim",
        "torch.autograd",
        "torch.utils.checkpoint",
    ),
    *("diffusers", "transformers", "lycoris", "accelerate", "sweeplora"),
    *("prodigyopt", "schedulefree", "dadaptation", "lion_pytorch", "bitsandbytes", "numpy", "builtins"),
)
"""Modules whose contents count, and those below them; of the next ones only the module itself."""

_ALONE = ("torch", "numpy")


class _Named(NamedTuple):
    """A name in a module or in a class, and what it means."""

    place: str
    contents: Mapping[str, Any]
    name: str
    meaning: Any


class LibraryState:
    """What each name of the watched modules and of their classes means now."""

    def __init__(self) -> None:
        self._named = [_Named(place, held, name, held[name]) for place, held in _places() for name in _counted(held)]

    def replaced(self) -> list[str]:
        """The names that meant something else before; one that is new, such as of a late import, counts nothing."""
        return [one.place + "." + one.name for one in self._named if one.contents.get(one.name) is not one.meaning]


def _places() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, module in [*sys.modules.items()]:
        if not _is_watched(name) or not isinstance(module, ModuleType):
            continue
        yield name, vars(module)
        for key, value in [*vars(module).items()]:
            if isinstance(value, type) and value.__module__ == name:
                yield f"{name}.{key}", vars(value)


def _counted(held: Mapping[str, Any]) -> list[str]:
    return [name for name, value in [*held.items()] if callable(value) or isinstance(value, staticmethod | classmethod)]


def _is_watched(name: str) -> bool:
    return any(name == one or (name.startswith(f"{one}.") and one not in _ALONE) for one in _WATCHED)
