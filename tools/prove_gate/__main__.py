"""Does the nightly gate catch what it should, and nothing else? Trainings with planted faults, judged as nights.

    python -m tools.prove_gate train OUT [NAME ...]       # these nights, or all; goes on where cut off
    python -m tools.prove_gate blocks OUT [--rounds N]    # one more session of step time and memory
    python -m tools.prove_gate judge OUT [--base NIGHT ...]   # what came of it, as Markdown

`--base`: folders of nights that the same source trained with ten seeds, instead of the one that `train` makes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.prove_gate import blocks, nights


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tools.prove_gate", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "blocks", "judge"])
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help=f"train: of {', '.join(nights.ALL)}")
    parser.add_argument("--rounds", type=int, default=blocks.ROUNDS, help="blocks: of each side in this session")
    parser.add_argument("--base", nargs="+", type=Path, help="judge: folders of nights")
    chosen = parser.parse_args()
    out = chosen.out.absolute()
    match chosen.what:
        case "train":
            for name in chosen.names or nights.ALL:
                nights.train(name, out)
        case "blocks":
            blocks.record(out, chosen.rounds)
        case _:
            print(*nights.matrix(out, chosen.base), "", *blocks.matrix(out), sep="\n")


if __name__ == "__main__":
    main()
