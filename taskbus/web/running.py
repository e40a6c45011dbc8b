"""Runs the web server by itself: a socket, uvicorn, and an orderly end."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette

from taskbus.app import TaskBus
from taskbus.config import Config
from taskbus.errors import ConfigError
from taskbus.web.auth.address import is_loopback
from taskbus.web.auth.opening import kinds_of
from taskbus.web.guard import LOOPBACK_NAMES
from taskbus.web.server import stop_streams, web_app

GRACE = 10.0
"""Seconds that requests under way may take when the server stops."""
MOST_CONNECTIONS = 400
"""Connections that are served at once; more get 503."""
BACKLOG = 128


def must_be_safe(host: str, config: Config, *, is_insecure: bool) -> None:
    """Raise ``ConfigError`` for a server that others reach and that asks nobody who he is."""
    if kinds_of(config) or is_insecure or (host and is_loopback(host)):
        return
    where = host or "every address"
    raise ConfigError(
        f"web: {where} can be reached by others, and would let everybody in: no way to sign in is set; set one "
        "(--auth token, see taskbus web token --help), listen on 127.0.0.1, or let everybody in (--insecure)"
    )


def names_of(host: str, config: Config) -> Sequence[str]:
    """The names by which a server that listens on ``host`` may be asked; empty: any.

    On loopback, only those of this machine and those that are set: whatever else a browser calls it is another site's
    trick. Beyond, who asks must say who he is, which no other site can make a browser do under another name.
    """
    own = [*config.web_hosts, *filter(None, [urlsplit(config.web_url).hostname])]
    if host and is_loopback(host):
        return [*LOOPBACK_NAMES, host, *own]
    return [*LOOPBACK_NAMES, *own, *([host] if not _is_any(host) else [])] if own else []


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: on any that is free. Raises ``ConfigError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"web: cannot listen on {host} port {port}: {why}; is another one there? see --port"
        ) from None


def serve(
    app: TaskBus,
    *,
    host: str,
    port: int,
    prefix: str,
    is_read_only: bool,
    is_insecure: bool,
    knows_code: bool,
    on_ready: Callable[[str], None],
) -> bool:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is told the URL. False if it could not start.

    Raises ``ConfigError`` for what is not safe, or cannot be.
    """
    must_be_safe(host, app.config, is_insecure=is_insecure)
    if prefix and (not prefix.startswith("/") or not prefix.isascii() or "//" in prefix or "%" in prefix):
        raise ConfigError(f"web: the prefix {prefix!r} is no path; write one like /taskbus")
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}{prefix.rstrip('/')}/"
        web = web_app(
            app,
            prefix=prefix,
            hosts=names_of(host, app.config),
            read_only=is_read_only,
            insecure=is_insecure,
            knows_code=knows_code,
            http=url,
        )
        server = _Server(web, lambda: on_ready(url))
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises what it caught once more, at its end
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listening])
        return server.started


class _Server(uvicorn.Server):
    """uvicorn's, which says when it is ready, and does not wait for streams that never end."""

    def __init__(self, web: Starlette, on_ready: Callable[[], None]) -> None:
        # No proxy's headers: who is one is said by web_proxies. No own logging: the command line's holds.
        super().__init__(
            uvicorn.Config(
                web,
                lifespan="on",
                ws="none",
                log_config=None,
                log_level="warning",  # that it starts and stops is said in our own words
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=int(GRACE),
            )
        )
        self._web, self._on_ready = web, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stop_streams(self._web)
        await super().shutdown(sockets)


def _is_any(host: str) -> bool:
    """Whether that is every address of this machine."""
    if not host:
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
