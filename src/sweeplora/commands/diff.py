"""Say what differs between two runs, or a run and the present: configuration, code, data, environment, results."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.place import runs_if_given
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.commands.sides import Side

_EXAMPLE = "python -m sweeplora diff rank_alpha/3 rank_alpha/7"


def main(words: list[str]) -> int:
    """Print what differs; returns 0 if nothing does, else 1, as diff does."""
    from sweeplora.commands.sides import PRESENT, present, side_of

    parser = Parser("diff", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, each value as [first, second]")
    parser.add_argument("words", nargs="+", metavar="RUN", help="one or two runs, trials or files; runs=FOLDER")
    asked = parser.parse(words)
    runs, names = runs_if_given(asked.words)
    if not 0 < len(names) < 3:
        parser.error("give one or two runs")
    first = side_of(runs, names[0])
    if len(names) == 2 and names[1] != PRESENT:
        second = side_of(runs, names[1])
        told = _compared(first, second)
    else:
        with tempfile.TemporaryDirectory(prefix="sweeplora-") as scratch:
            second = present(runs, names[0], Path(scratch))
            told = _compared(first, second)
    print(json_text(told, indent=1) if asked.json else "\n".join(_shown(told)))
    return 1 if any(told[part] for part in ("config", "code", "data", "environment", "results")) else 0


def _compared(first: Side, second: Side) -> dict[str, Any]:
    from sweeplora.record.sessions import code_diff, environment_diff
    from sweeplora.report.diff import config_diff, data_diff, result_diff

    code = code_diff(first.session, second.session)
    troubles = code.pop("troubles")
    sources = [(side.identity.get("code") or {}).get("source") for side in (first, second)]
    if all(sources) and sources[0] != sources[1]:
        code["training"] = sources
    if first.config and second.config:
        config, metadata = config_diff(first.signed, second.signed), {}
    else:
        config, metadata = config_diff(first.metadata, second.metadata), {"compared": "metadata"}
    known = first.listing and second.listing
    data = data_diff((first.config, first.listing), (second.config, second.listing)) if known else None
    unknown = [] if known else ["the data of one of them was not recorded"]
    recorded = first.session.facts and second.session.facts
    return {
        "first": first.label,
        "second": second.label,
        **metadata,
        "config": config,
        "code": {key: value for key, value in code.items() if value},
        "data": data.as_data() if data else {},
        "environment": environment_diff(first.session, second.session) if recorded else {},
        "results": result_diff(first.results, second.results) if first.results and second.results else {},
        "notes": [*first.notes, *second.notes, *troubles, *unknown],
    }


def _shown(told: Mapping[str, Any]) -> list[str]:
    from sweeplora.report.diff import DataDiff, shown_data, shown_pairs

    code = told["code"]
    lines_of = {
        "config": shown_pairs(told["config"]),
        "code": [
            *(f"{label}: {line}" for label, said in code.get("repositories", {}).items() for line in said),
            *(["the code of the training differs"] if "training" in code else []),
            *(
                line
                for part in ("files", "patches")
                for text in code.get(part, {}).values()
                for line in text.splitlines()
            ),
        ],
        "data": shown_data(DataDiff(**told["data"])) if told["data"] else [],
        "environment": shown_pairs(told["environment"]),
        "results": shown_pairs(told["results"]),
    }
    lines = [f"{told['first']} -> {told['second']}", *told["notes"]]
    for part, found in lines_of.items():
        lines += ["", f"{part}: {'no difference' if not found else ''}".rstrip(), *(f"  {line}" for line in found)]
    return lines
