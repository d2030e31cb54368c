"""Opens an address for the person at the terminal."""

from __future__ import annotations

import os
import sys
import webbrowser


def announce(address: str, browser: bool) -> None:
    """Print an address, and open it where a person sits at a desktop, unless `browser` is false."""
    print(address, flush=True)
    desktop = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ or sys.platform == "darwin"
    if browser and desktop and sys.stdout.isatty() and "SSH_CONNECTION" not in os.environ:
        webbrowser.open(address)
