"""A small HTTP server in a thread, for metrics and probes: GET, a handful of pages, nothing that changes anything.

It sleeps until somebody connects. A request is answered in a thread of its own, so that a slow scrape holds up no
probe; pages read what others have noted, and wait for no lock that those hold. No TLS and no passwords: loopback by
default, and what the pages say is no secret.
"""

import contextlib
import errno
import json
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from taskbus.errors import ConfigError

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
TIMEOUT = 10.0
"""Seconds that a client may take to ask, and to read."""
MOST_AT_ONCE = 16
"""Requests that are answered at once; more are turned away, so that nobody can exhaust threads."""

PAUSE = 0.1
"""Seconds until it is tried again what this machine has no room for."""


class Answer(NamedTuple):
    """What a page says."""

    status: int
    content_type: str
    body: bytes


class Request(NamedTuple):
    """What was asked of a page: the first value of each argument, and the ``Accept`` header."""

    arguments: Mapping[str, str]
    accept: str


Page = Callable[[Request], Answer]


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``:PORT`` or ``PORT``, the host being loopback if not given; port 0: any that is free.

    Raises ``ConfigError`` for anything else.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(
            f"http={text!r} is no address; write HOST:PORT, such as 127.0.0.1:9464, or 0.0.0.0:9464 for all"
        )
    return host or LOOPBACK, int(port)


class HttpServer:
    """Serves ``pages`` by their paths from ``start`` to ``close``; listens from the beginning, so ``url`` is right.

    Raises ``ConfigError`` if the address cannot be listened on.
    """

    def __init__(self, address: str, pages: Mapping[str, Page]) -> None:
        host, port = address_of(address)
        try:
            self._server = _Server(host, port, pages)
        except OSError as error:
            raise ConfigError(f"http={address!r} cannot be listened on: {error.strerror or error}") from error
        bound = self._server.server_address
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{bound[1]}"
        self._ours, self._bell = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="taskbus-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more. What is being answered is not waited for."""
        self._bell.send(b".")
        if self._thread.is_alive():
            self._thread.join(TIMEOUT)
        self._server.server_close()
        self._bell.close()
        self._ours.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            selector.register(self._server, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._ours in ready:
                    return
                self._server.handle_request()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    timeout = 0.0
    request_queue_size = 64

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__((host, port), _Handler)
        self.socket.setblocking(False)

    def server_bind(self) -> None:
        """As its grandparent's: ``HTTPServer`` looks up the name of its host, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection. Without a descriptor left it waits in the backlog, where asking at once finds it again."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread to be had
                self._free.release()
                self.shutdown_request(request)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("http: a request of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT
    server: _Server
    server_version = "TaskBus"
    sys_version = ""

    def do_GET(self) -> None:
        path, query = (parts := urlsplit(self.path)).path.rstrip("/"), parts.query
        page = self.server.pages.get(path)
        if page is None:
            known = ", ".join(sorted(self.server.pages))
            self._say(
                as_json(
                    HTTPStatus.NOT_FOUND, {"error": f"there is no {path[:100] or '/'}", "advice": f"pages: {known}"}
                )
            )
            return
        arguments = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            answer = page(Request(arguments, self.headers.get("Accept", "")))
        except Exception as error:
            logger.exception("http: %s failed", path)
            answer = as_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": type(error).__name__, "advice": "see the log"})
        self._say(answer)

    do_HEAD = do_GET

    def _say(self, answer: Answer) -> None:
        with contextlib.suppress(OSError):  # whoever asked has left
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: probes come every few seconds."""


def as_json(status: int, value: Any) -> Answer:
    """An answer of JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return Answer(status, "application/json; charset=utf-8", f"{text}\n".encode())
