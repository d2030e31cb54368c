"""A headless chromium that remembers what its pages asked for and complained about."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.screenshots import Browser

_SECONDS = 60.0
_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_KEYS |= {"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
_SHIFT = 8


class Watched(Browser):
    """A browser that remembers every address that a page, or a worker of it, asked for."""

    def __init__(self, profile: Path, width: int = 1500) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        super().__init__(profile, width)
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        self.call("Network.enable")
        self.call("Runtime.enable")

    def _next(self) -> dict[str, Any]:
        message = super()._next()
        about = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(about["request"]["url"])
            case "Network.webSocketCreated":
                self.asked.append(about["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(about))
            case "Target.attachedToTarget":  # a worker: watched before its first line runs
                for method in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
                    self.send(method, about["sessionId"])
        return message

    @property
    def elsewhere(self) -> list[str]:
        """What was asked of other places than this machine."""
        split = [(urlsplit(address), address) for address in self.asked]
        return [
            address
            for one, address in split
            if one.scheme not in ("data", "blob", "about", "file") and one.hostname not in ("127.0.0.1", "localhost")
        ]

    def until(self, script: str) -> None:
        """Wait until a JavaScript expression is true, or gives an element; TimeoutError names it."""
        deadline = time.monotonic() + _SECONDS
        while not self.evaluate(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise TimeoutError(script)
            time.sleep(0.05)

    def go(self, address: str, until: str) -> None:
        """Open a page and wait until a JavaScript expression holds."""
        self.call("Page.navigate", url=address)
        self.until(until)

    def press(self, selector: str) -> None:
        """Click the middle of an element, with the mouse."""
        self.press_one(f"document.querySelector({json.dumps(selector)})")

    def press_one(self, element: str) -> None:
        """Click the middle of the element that a JavaScript expression gives, with the mouse."""
        middle = (
            "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return JSON.stringify([b.left + b.width / 2, b.top + b.height / 2]) })"
        )
        x, y = json.loads(self.evaluate(f"{middle}({element})"))
        self.click(x, y)

    def key(self, name: str, shift: bool = False) -> None:
        """Press and release a key."""
        code = _KEYS.get(name, ord(name.upper()[0]))
        pressed: dict[str, Any] = {"key": name, "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code}
        pressed["modifiers"] = _SHIFT if shift else 0
        text = {"Enter": "\r", " ": " "}.get(name, name if len(name) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)
