"""Open the record in a browser: MLflow's pages over the runs of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora ui --port 5001 runs=/data/runs"
_PORT = 5000


def main(words: list[str]) -> int:
    """Become MLflow's server, so that Ctrl-C and signals reach it directly."""
    from sweeplora.config.compose import compose
    from sweeplora.record.ui import ui

    parser = Parser("ui", __doc__ or "", _EXAMPLE)
    parser.add_argument("--port", type=_port, default=_PORT, metavar="N", help=f"port to serve at, {_PORT} by default")
    parser.add_argument("overrides", nargs="*", help="runs=FOLDER, or other overrides of the configuration")
    asked = parser.parse(words)
    runs = Path(compose(asked.overrides).config["runs"])
    if not (runs / "mlflow.db").is_file():
        raise UserError("runs", runs, "there is no record yet; run something first, or give runs=…")
    command = ui(runs, asked.port)
    print(f"http://127.0.0.1:{asked.port}", flush=True)
    os.execvpe(command.argv[0], command.argv, dict(command.env))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 1 << 16:
        raise UserError("--port", text, "give a port number, e.g. --port 5000")
    return int(text)
