"""The parts of a bash script."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Literal:
    """Text that stands for itself; `quoted` text is neither split nor matched against file names."""

    text: str
    quoted: bool


@dataclass(frozen=True)
class Parameter:
    """`$NAME` or `${...}`: the name, `[index]`, and the operator with what follows it, as they are written."""

    raw: str
    name: str
    line: int
    quoted: bool
    index: str | None = None
    operator: str = ""
    argument: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Substitution:
    """`$(...)`, backquotes or `<(...)`: what is written, and the script inside."""

    raw: str
    script: str
    line: int
    quoted: bool


@dataclass(frozen=True)
class Arithmetic:
    """`$((...))`."""

    raw: str
    expression: str
    line: int
    quoted: bool


Part = Literal | Parameter | Substitution | Arithmetic
Word = tuple[Part, ...]


@dataclass(frozen=True)
class Assignment:
    """`NAME=value`, `NAME[index]+=value`, `NAME=(words)`."""

    name: str
    index: str | None
    append: bool
    value: Word | tuple[tuple[str | None, Word], ...]
    is_array: bool
    line: int


@dataclass
class Redirection:
    """`> file`, or a here-document with its body, which is read after the line it stands in."""

    operator: str
    target: Word
    body: str = ""
    expands: bool = False


@dataclass
class Simple:
    """A command of words. `cut`: the unquoted operator that ends it in the middle of a word."""

    line: int
    assignments: list[Assignment] = field(default_factory=list)
    words: list[Word | Assignment] = field(default_factory=list)
    redirections: list[Redirection] = field(default_factory=list)
    cut: str = ""


@dataclass
class AndOr:
    """`left && right` or `left || right`."""

    left: Node
    operator: str
    right: Node


@dataclass
class Pipeline:
    """Commands with `|` between, or one that is negated."""

    commands: list[Node]
    negated: bool


@dataclass
class If:
    """Conditions with what each runs, and what runs otherwise."""

    line: int
    raw: list[str]
    branches: list[tuple[list[Node], list[Node]]]
    otherwise: list[Node]


@dataclass
class Loop:
    """`for NAME in words`, `select` (names only), `for ((...))`, `while`, `until` (no name)."""

    line: int
    keyword: str
    name: str
    words: list[Word] | None
    condition: list[Node]
    body: list[Node]


@dataclass
class Case:
    """`case word in pattern) ...`."""

    line: int
    subject: Word
    raw: str
    items: list[tuple[list[Word], list[Node]]]


@dataclass
class Function:
    """A function's definition."""

    line: int
    name: str
    body: Node


@dataclass
class Group:
    """`{ ... }`, or `( ... )`, whose changes stay inside."""

    line: int
    body: list[Node]
    subshell: bool
    redirections: list[Redirection] = field(default_factory=list)


@dataclass
class Test:
    """`[[ ... ]]`: words, and operators as plain strings."""

    line: int
    raw: str
    tokens: list[Word | str]


@dataclass
class Let:
    """`((...))`."""

    line: int
    expression: str


Node = Simple | AndOr | Pipeline | If | Loop | Case | Function | Group | Test | Let
