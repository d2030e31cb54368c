"""Open the record in a browser: MLflow's UI, at the runs of the last study, the best first."""

from __future__ import annotations

from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.one_run import key_of
from sweeplora.commands.words import STORE, expect_keys, key_and_value
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora ui --port 5001 runs=/data/runs"


def main(words: list[str]) -> int:
    """Print the URL of the record's UI, and serve it until Ctrl-C unless a server already does."""
    from sweeplora.config.binding import check_node
    from sweeplora.config.compose import compose
    from sweeplora.record.location import tracking_of
    from sweeplora.record.ui import PORT, show

    parser = Parser("ui", __doc__ or "", _EXAMPLE)
    parser.add_argument("--port", type=_port, metavar="N", help=f"port to serve at, {PORT} by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("overrides", nargs="*", help="runs=FOLDER, tracking.uri=ADDRESS, tracking.experiment=NAME")
    asked = parser.parse(words)
    config = compose(asked.overrides).config
    expect_keys("ui", asked.overrides, ("runs", "tracking", *STORE))
    check_node("tracking", config["tracking"])
    for word in asked.overrides:
        if key_of(word) == "tracking" and not config["tracking"]["enabled"]:
            raise UserError(*key_and_value(word), "has no record to show; leave it out, or give tracking.uri=…")
    runs = Path(config["runs"])
    return show(tracking_of(config, runs), runs, asked.port, not asked.no_browser)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 1 << 16:
        raise UserError("--port", text, "give a port number, e.g. --port 5000")
    return int(text)
