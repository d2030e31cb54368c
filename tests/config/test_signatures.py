"""Signatures read from source, of modules that would fail if anything imported them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from sweeplora.config.annotations import Opaque, describe
from sweeplora.config.binding import check_node, check_value
from sweeplora.config.rules import check_rules
from sweeplora.config.signatures import Signature, signature_of
from sweeplora.errors import UserError

_BOMB = "raise RuntimeError('imported')\n"
_MODULES = {
    "pack/__init__.py": "from .inner import *\nfrom .inner import Plain as Renamed\n" + _BOMB,
    "pack/types.py": "from typing import Literal\nKind = Literal['a', 'b']\n" + _BOMB,
    "pack/inner.py": """
from __future__ import annotations
import typing as t
from abc import ABC
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Optional
from annotated_types import Ge
from .types import Kind
from . import missing_name
from sweeplora.errors import UserError

try:
    import nothing_here
except ImportError:
    FALLBACK = True
    def made_in_try(x: int): ...

class Thing: ...
Number = Annotated[float, Ge(0)]

class Base:
    def __init__(
        self, params, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.99), thing: Thing | None = None
    ): ...

class Plain(Base, ABC):
    pass

class Old:
    def __init__(self, params, lr=1.0, debug=False, name=None, **rest): ...

class Empty(ABC): ...

@dataclass(frozen=True)
class Above:
    first: int
    kinds: ClassVar[int] = 3

@dataclass(frozen=True)
class Config(Above):
    kind: Kind
    number: Number | None
    texts: list[str] = field(default_factory=list)
    hidden: int = field(init=False, default=0)
    unreadable: t.Any = None
    made: "Optional[int]" = None

    def __post_init__(self) -> None:
        if self.kind == "a" and self.number is not None:
            raise UserError("x.number", self.number, "kind a has none")

class Needy:
    def __init__(self, x: int): ...
    def __post_init__(self): ...
    @classmethod
    def build(cls, size: int): ...
"""
    + _BOMB,
}


@pytest.fixture(scope="module", autouse=True)
def _modules(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("modules")
    for name, text in _MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield
    patch.undo()


def _read(target: str) -> Signature:
    signature = signature_of(target, "x._target_")
    assert signature is not None
    return signature


def test_a_class_without_init_takes_its_bases_arguments() -> None:
    parameters = _read("pack.inner.Plain").parameters
    assert list(parameters) == ["params", "lr", "betas", "thing"]
    assert [p.required for p in parameters.values()] == [True, False, False, False]
    assert parameters["betas"].type == tuple[float, float]
    assert parameters["thing"].type == Opaque | None


def test_names_are_followed_through_imports_stars_and_renamings() -> None:
    assert _read("pack.Renamed") == _read("pack.inner.Plain") == _read("pack.Plain")


def test_a_dataclass_takes_its_fields_inherited_ones_first() -> None:
    parameters = _read("pack.inner.Config").parameters
    assert list(parameters) == ["first", "kind", "number", "texts", "unreadable", "made"]
    assert [name for name, p in parameters.items() if p.required] == ["first", "kind", "number"]
    assert parameters["kind"].type == Literal["a", "b"]
    assert parameters["number"].type == Annotated[float, Ge(0)] | None
    assert parameters["unreadable"].type is Any
    assert parameters["made"].type == int | None


def test_without_annotations_a_default_says_number_or_truth() -> None:
    signature = _read("pack.inner.Old")
    assert signature.open
    assert {name: p.type for name, p in signature.parameters.items()} == {
        "params": Any, "lr": float | None, "debug": bool | None, "name": Any,
    }  # fmt: skip


def test_a_class_of_nothing_takes_nothing_and_a_builder_takes_its_own() -> None:
    assert _read("pack.inner.Empty") == Signature({}, open=False)
    assert list(_read("pack.inner.Needy.build").parameters) == ["size"]


def test_a_function_inside_try_is_found() -> None:
    assert list(_read("pack.inner.made_in_try").parameters) == ["x"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("pack.inner.Plane", "there is no Plane in pack.inner"),
        ("pack.innner.Plain", "there is no innner in pack"),
        ("no_such_package.Plain", "pip install no_such_package"),
        ("Plain", "expected package.module.Name"),
        ("pack..Plain", "expected package.module.Name"),
        ("__main__.Plain", "expected package.module.Name"),
    ],
)
def test_a_target_that_is_not_there_is_refused(target: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        signature_of(target, "x._target_")
    assert said in str(caught.value)


def test_an_extension_module_is_not_judged() -> None:
    assert signature_of("math.sqrt", "x") is None
    check_node("x", {"_target_": "math.sqrt", "anything": 1})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, float),
        (0.5, float),
        (0.5, Opaque | float),
        (float("inf"), float),
        (3, int),
        (0, Annotated[int, Ge(0)]),
        (None, int | None),
        (True, bool),
        ("a", str),
        ("a", Literal["a", "b"]),
        ("p", Path),
        ([0.9, 1], tuple[float, float]),
        (["a"], list[str]),
        ({"a": 1}, dict[str, Any]),
        (object, Any),
    ],
)
def test_values_that_fit_pass(value: object, kind: Any) -> None:
    check_value("k", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (True, int, "k=true: expected a whole number"),
        (True, float, "k=true: expected a number"),
        (1, bool, "k=1: expected true or false"),
        (1.0, int, "k=1.0: expected a whole number"),
        ("3", int, "k=3: expected a whole number"),
        ("1e-3", float, "k=1e-3: expected a number"),
        (3, str, "k=3: expected text"),
        (None, float, "k=null: expected a number"),
        (-1, Annotated[int, Ge(0)] | None, "k=-1: expected a whole number >= 0 or null"),
        ("c", Literal["a", "b"], "k=c: expected one of a, b"),
        ([0.9], tuple[float, float], "k=[0.9]: expected a list of 2, each a number"),
        ("a", list[str], "k=a: expected a list, each text"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(value: object, kind: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_value("k", value, kind)
    assert str(caught.value) == said


def test_missing_unknown_and_nested_arguments_are_named_by_their_dotted_key() -> None:
    good = {"_target_": "pack.inner.Config", "first": 1, "kind": "a", "number": None}
    check_node("x", good)
    refused = [
        ({**good, "kind": "???"}, "x.kind=???: give x.kind="),
        ({**good, "sort": "a"}, "x.sort=a: pack.inner.Config takes no sort"),
        ({"_target_": "pack.inner.Config", "first": 1, "kind": "a"}, "x.number=: pack.inner.Config needs it"),
        ({**good, "unreadable": {"_target_": "pack.inner.Needy", "x": "no"}}, "x.unreadable.x=no: expected a whole"),
    ]
    for node, said in refused:
        with pytest.raises(UserError) as caught:
            check_node("x", node)
        assert said in str(caught.value)
    check_node("x", {"_target_": "pack.inner.Plain", "_partial_": True, "lr": 1})


def test_the_rules_of_a_class_that_is_slow_to_import_are_run_from_its_source() -> None:
    good = {"_target_": "pack.inner.Config", "first": 1, "kind": "a", "number": None}
    check_rules("x", good)
    with pytest.raises(UserError, match="kind a has none"):
        check_rules("x", {**good, "number": 3.0})


def test_types_are_described_for_a_reader() -> None:
    assert describe(list[int] | None) == "a list, each a whole number or null"
    assert describe(Annotated[float, Ge(0)] | Literal["auto"]) == "a number >= 0 or one of auto"
