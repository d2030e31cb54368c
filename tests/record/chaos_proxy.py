"""A proxy before a tracking server that loses answers, fails, is slow, asks for a login and has a full disk."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["lost", "failed", "failed after all", "login", "full", "slow"]

MIXED: Mapping[Fault, float] = {
    "lost": 0.06,
    "failed": 0.04,
    "failed after all": 0.06,
    "login": 0.04,
    "full": 0.1,
    "slow": 0.05,
}
"""A share of the requests for each fault."""

_LONGEST_DELAY = 0.2


class ChaosProxy(ThreadingHTTPServer):
    """Forwards to `server`, with faults by a seeded choice; counts them.

    `lost`: the server acts and the connection is closed without an answer. `failed`: 500 instead of an act. `failed
    after all`: the server acts, and the answer is 500. `login`: 401 instead of an act. `full`: half of an uploaded
    file arrives, and the answer is 507; other requests are forwarded. `slow`: the answer comes later.
    """

    daemon_threads = True

    def __init__(self, server: str, shares: Mapping[Fault, float], seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(server).netloc
        self.shares = shares
        self.happened: Counter[Fault] = Counter()
        self._random = random.Random(seed)
        self._one_at_a_time = threading.Lock()

    @property
    def uri(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self, is_upload: bool) -> Fault | None:
        """What goes wrong with a request, and None if nothing does."""
        with self._one_at_a_time:
            place = self._random.random()
            for fault, share in self.shares.items():
                place -= share
                if place < 0:
                    if fault == "full" and not is_upload:
                        return None
                    self.happened[fault] += 1
                    return fault
        return None

    def delay(self) -> float:
        """Seconds that a slow answer takes longer."""
        with self._one_at_a_time:
            return self._random.uniform(0.0, _LONGEST_DELAY)


class _Handler(BaseHTTPRequestHandler):
    server: ChaosProxy
    protocol_version = "HTTP/1.0"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.server.draw(is_upload=self.command == "PUT"):
            case "login":
                self._answer(401, b"log in first")
            case "failed":
                self._answer(500, b"no")
            case "full":
                self._ask(body[: len(body) // 2])
                self._answer(507, b"no space left on device")
            case "lost":
                self._ask(body)
            case "failed after all":
                self._ask(body)
                self._answer(500, b"no")
            case "slow":
                time.sleep(self.server.delay())
                self._pass_on(body)
            case None:
                self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        answer, content = self._ask(body)
        self._answer(answer.status, content, answer.getheaders())

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        names = ("host", "connection", "content-length")
        headers = {key: value for key, value in self.headers.items() if key.lower() not in names}
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def _answer(self, status: int, content: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        self.send_response(status)
        for key, value in headers or []:
            if key.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def chaos(server: str, shares: Mapping[Fault, float], seed: int) -> Iterator[ChaosProxy]:
    """The proxy while it runs."""
    proxy = ChaosProxy(server, shares, seed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
