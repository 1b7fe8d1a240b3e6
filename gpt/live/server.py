"""Serves one page and its data on this machine, from daemon threads.

Knows nothing of runs. A client that is slow, silent or hostile costs a thread, for seconds.
"""

import json
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl

from tinytensor.errors import ArgumentError

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds that a client may take to send its request, or to read the answer
MOST_FIELDS = 64  # of a query
LATELY = 6.0  # seconds: a page asks each second, and each five seconds while it is hidden

Answer = Callable[[Mapping[str, str]], object]

logger = logging.getLogger(__name__)


class PageServer:
    """A page at http://127.0.0.1:PORT/TOKEN/, and its data at the address `data` beside it.

    The token is random: other users of the machine and pages of other sites cannot guess it. `answer` makes
    JSON values of the query of a request for data, in threads of the server; port 0 is a free one.
    """

    def __init__(self, page: str, answer: Answer, port: int = 0) -> None:
        try:
            self._server = _Server(page, answer, port)
        except (OSError, OverflowError) as error:
            raise ArgumentError(
                f"watch: port {port} of {HOST} cannot be used",
                why=getattr(error, "strerror", None) or str(error),
                fix="leave --watch_port out for a free port, or name another one, from 1024 to 65535",
            ) from None
        port = self._server.server_address[1]
        self.url = f"http://{HOST}:{port}/{self._server.token}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="page server", daemon=True
        )
        self._thread.start()

    def wait_for_question(self, seconds: float) -> None:
        """Wait until the data were asked for from now on, if they were lately; for so long at most."""
        server, now = self._server, time.monotonic()
        if server.asked_at > now - LATELY:
            with server.answered:
                server.answered.wait_for(lambda: server.asked_at >= now, seconds)

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(self, *error: object) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would allow two servers at one port
    request_queue_size = 64

    def __init__(self, page: str, answer: Answer, port: int) -> None:
        self.page, self.answer = page.encode(), answer
        self.token = secrets.token_urlsafe(16)
        self.asked_at = -math.inf  # time of the last question for data that was answered
        self.answered = threading.Condition()
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event; standard error belongs to the training."""
        logger.debug("connection of %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request: the page, its data, or an error of one line."""

    server: _Server
    timeout = PATIENCE
    server_version, sys_version = "tinytensor", ""

    def do_GET(self) -> None:
        """Answer with the page or the data."""
        if not self._is_for_us():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path, _, query = self.path.partition("?")
        token, _, name = path.removeprefix("/").partition("/")
        known = secrets.compare_digest(token.encode(), self.server.token.encode())
        if not known or path.count("/") != 2 or name not in ("", "data"):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif name == "":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            try:
                fields = dict(parse_qsl(query, max_num_fields=MOST_FIELDS))
            except ValueError:
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            asked_at = time.monotonic()
            text = json.dumps(self.server.answer(fields), allow_nan=False)
            self._send(HTTPStatus.OK, "application/json", text.encode())
            with self.server.answered:
                self.server.asked_at = max(self.server.asked_at, asked_at)
                self.server.answered.notify_all()

    def _is_for_us(self) -> bool:
        """Whether the browser was asked for this machine: a foreign name may have been made to lead here.
        Any port, since it may be forwarded from another machine.
        """
        host, _, port = self.headers.get("Host", "").rpartition(":")
        return host in (HOST, "localhost") and port.isdecimal()

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "frame-ancestors 'none'"),  # beside the one in the page
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),  # the address has the token
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error without any text of the request."""
        status = HTTPStatus(code)
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Standard error belongs to the training."""
