"""Serves the page of a comparison on this machine alone: to whoever has its address, and to no other page."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, cast

from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text
from sweeplora.report.prefer.session import Session
from sweeplora.rundir.preferences import PICKS

HOST = "127.0.0.1"
_MOST_BYTES = 4096
_IDLE_SECONDS = 30
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PreferServer(ThreadingHTTPServer):
    """A server for one session at a secret address. It ends when the page says so or `shutdown` is called."""

    daemon_threads = True

    def __init__(self, session: Session, port: int) -> None:
        """Raises UserError if the port is taken; port 0 is any that is free."""
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError("--port", port, f"cannot be listened on ({error.strerror}); give another") from error
        self.session = session
        self.token = secrets.token_urlsafe(16)
        self.lock = threading.Lock()
        """Held while a request reads or writes the session."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless the browser was merely gone."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    @property
    def host(self) -> str:
        """What a request of the page itself names as its host."""
        return f"{HOST}:{self.server_port}"

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{self.host}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server_version, sys_version = "sweeplora", ""

    @property
    def _of(self) -> PreferServer:
        return cast("PreferServer", self.server)

    def do_GET(self) -> None:
        match self._asked():
            case "":
                page = resources.files("sweeplora.report.prefer") / "page.html"
                self._answer(HTTPStatus.OK, page.read_bytes(), "text/html; charset=utf-8")
            case "pair":
                with self._of.lock:
                    self._tell(self._of.session.facts())
            case str():
                self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        asked = self._asked()
        if asked is None:
            return
        if self.headers.get("Origin") != f"http://{self._of.host}":
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        body = self._body()
        if body is None:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        with self._of.lock:
            self._do(asked, body)

    def _do(self, asked: str, body: dict[str, Any]) -> None:
        session = self._of.session
        match asked, body:
            case "pick", {"pair": int(pair), "picked": str(picked)} if picked in PICKS:
                known = next(one for one in PICKS if one == picked)
                done = session.pick(pair, known)
                self._tell(session.facts(), HTTPStatus.OK if done else HTTPStatus.CONFLICT)
            case "undo", _:
                session.undo()
                self._tell(session.facts())
            case "end", _:
                self._tell({"lines": session.result()})
                threading.Thread(target=self._of.shutdown, daemon=True).start()
            case "pick", _:
                self._refuse(HTTPStatus.BAD_REQUEST)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)

    def _asked(self) -> str | None:
        """What of the page is asked for; None for a request that is not of this page, which is answered here."""
        if self.headers.get("Host") != self._of.host:
            self._refuse(HTTPStatus.FORBIDDEN)  # another name for this machine, as a page elsewhere may have made one
            return None
        _, token, *rest = [*self.path.split("/", 2), ""]
        if not hmac.compare_digest(token.encode(errors="replace"), self._of.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return rest[0]

    def _body(self) -> dict[str, Any] | None:
        """The JSON object that was sent, None if it is none."""
        if self.headers.get_content_type() != "application/json":
            return None
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > _MOST_BYTES:
            return None
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def _tell(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, json_text(content).encode(), "application/json")

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # a body that was not read must not be taken for a request
        self._answer(status, b"", "text/plain")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the terminal belongs to the command."""
