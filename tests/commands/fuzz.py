"""Command lines made from the real conf/ and sweeps/, most of them wrong in some way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from sweeplora.commands import verbs
from sweeplora.config import catalog
from sweeplora.config.compose import compose, dotted

HERE = Path("/")
_SEARCHES = (
    *("choice(1,2)", "choice()", "choice(null,a)", "range(1,5)", "range(5,1)", "range(0,1e9)", "range(1,2,0)"),
    *("interval(0,1)", "interval(1,0)", "interval(-inf,inf)", "tag(log,interval(1e-5,1))", "tag(log,interval(0,1))"),
    *("tag(fast,choice(1,2))", "shuffle(range(1,9))", "int(interval(1,4))", "sort(3,1,2)", "choice(choice(1,2),3)"),
    *("glob(*)", "choice(x,[1,2],{a:1})", "tag(log,range(1,9))", "range(1,9,0.5)", "choice(1,2"),
)
_VALUES = (
    *("", "0", "1", "-1", "3.5", "1e-4", "1e400", "inf", "-inf", "nan", "true", "null", "None", "???", "'???'", "''"),
    *("[]", "[1]", "[a,b]", "[[1]]", "[null]", "{}", "{a: 1}", "{_target_: x}", "{_target_: os.system}", "${seed}"),
    *("${nothing}", "${name", "${asset:x}", "/etc/passwd", "/dev/null", "/proc/self", "/proc", ".", "..", "~", "a b"),
    *("a,b", "(", ")", "[", "{", "'", '"', "\\", "a=b", "=", "@", "%s", "{0}", "\x00", "\n", "ü", "日本語", "🦊"),
    *("\ud800", "\u202e", "99999999999999999999", "9223372036854775807", "1000000000", "-1000000000", "100000000"),
    *("0x10", "1_000", "007", "torch.optim.SGD", "os.system", "no_such.Thing", "sqlite://", "http://", "1" * 5000),
    *("x" * 5000, "[" * 200, "1," * 2000 + "1", "'" + "y" * 300 + "'", "'" + "z" * 200 + "'"),
)
_ASKED_OF_VERBS = (
    *(
        "single",
        "s",
        "x/0",
        "x/",
        "/",
        "999999999999",
        "-1",
        "",
        " ",
        "ü",
        "\ud800",
        "a b",
        "'",
        "[",
        "*",
        "%",
        "x" * 5000,
    ),
    *("--json", "--yes", "--all", "--last", "--keep=-1", "--metric=loss", "--metric", "--older=1d", "--older=", "--no"),
    *("--port=0x1", "--port=99999999", "--seed=inf", "--reason", "--reason=", "-", "--", "=", "--look-in", "--help=1"),
)
"""Words that no verb can do harm with."""

_SIGNS = ("", "", "", "", "+", "++", "~", "-", "--", " ", "+++")


def command_lines(seed: int, count: int) -> Iterator[list[str]]:
    """So many lists of words; the same seed gives the same."""
    draw = random.Random(seed)
    keys = [*dotted(compose([]).config), *(f"sweep.space.{key}" for key in ("seed", "network.dim"))]
    choices = [(group, choice) for group, names in catalog.groups(HERE).items() for choice in names]
    sweeps = list(catalog.sweeps(HERE))
    for _ in range(count):
        words = [_word(draw, keys, choices, sweeps) for _ in range(draw.choice((1, 1, 2, 3, 5)))]
        if draw.random() < 0.1:
            words.append(draw.choice(words))
        if draw.random() < 0.05:
            words.insert(0, draw.choice([*verbs(HERE), "runs", "Run", "../run", "run.py", "__init__"]))
        elif draw.random() < 0.08:
            words = [draw.choice(list(verbs(HERE))), *draw.choices(_ASKED_OF_VERBS, k=draw.choice((0, 1, 1, 2, 3)))]
        yield [*words, "--port=0"] if words[0] == "ui" else words  # it would serve until somebody ends it


def _word(draw: random.Random, keys: list[str], choices: list[tuple[str, str]], sweeps: list[str]) -> str:
    kind, sign = draw.random(), draw.choice(_SIGNS)
    group, choice = draw.choice(choices)
    if kind < 0.1:
        return f"{sign}{group}={choice}"
    if kind < 0.15:
        return f"{sign}{group}={draw.choice(_VALUES)}"
    if kind < 0.2:
        return f"+sweep={draw.choice([*sweeps, *_VALUES])}"
    if kind < 0.25:
        return f"{sign}{draw.choice(('_partial_', '_target_', '_args_', 'lr'))}={draw.choice(_VALUES)}"
    if kind < 0.3:
        return draw.choice((*_VALUES, *_SIGNS, "--cfg", "--help", "-h", "--version", "--", "--port"))
    key = _mangled(draw, draw.choice(keys))
    if kind < 0.45:
        return f"{sign}{key}={draw.choice(_SEARCHES)}"
    return f"{sign}{key}={draw.choice(_VALUES)}"


def _mangled(draw: random.Random, key: str) -> str:
    at = draw.randrange(len(key) + 1)
    letter = draw.choice("._@=/:aé ")
    return draw.choice((key, key, key, key, key, key[:at], key[:at] + letter + key[at:], f"{key}.{key}", key.upper()))
