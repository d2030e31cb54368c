"""Opens an address for the person at the terminal."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser


def announce(address: str, browser: bool) -> None:
    """Print an address, and open it where a person sits at a desktop, unless `browser` is false."""
    # A Ctrl-C that cuts the flush short would have Python write the line once more at its exit.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        print(address, flush=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    desktop = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ or sys.platform == "darwin"
    if browser and desktop and sys.stdout.isatty() and "SSH_CONNECTION" not in os.environ:
        webbrowser.open(address)
