"""What holds for every request: under which names the server is asked, and what browsers may do with its answers."""

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskbus.web.answers import refused
from taskbus.web.refusal import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SLASH = "\x00"
"""Stands for a slash inside a part of a path, which the router must not see; it cannot be in a URL itself."""


def host_name(host: str) -> str:
    """The name in a ``Host`` header, lower case, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def is_probe(scope: Scope) -> bool:
    """Whether that is a probe, which an orchestrator sends to an address, not a name; its answer is no secret."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith("/healthz/")


class Guard:
    """Refuses hosts that are not ours, and gives every answer its headers.

    ``hosts``: the names it may be asked by; empty: any. A page elsewhere can make its own name lead to this machine
    (DNS rebinding), and would then be of one origin with this server, but for the name.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(
            host_name(f"[{host}]" if host.count(":") > 1 and "[" not in host else host) for host in hosts
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if is_probe(scope):
            await self._app(scope, receive, send_guarded)
            return
        named = host_name(Headers(scope=scope).get("host", ""))
        if self._hosts and named not in self._hosts:
            advice = "use one of its names, or add this one to web_hosts"
            answer = refused(Refusal(421, f"this server is not {named or 'without a name'!r}", advice))
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


class Places:
    """Says where in the URL the server is (``prefix``), whether a proxy took that off the path or not.

    It also keeps a slash inside a part of the path (``%2F``) apart from those between parts: names may hold one.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = dict(scope)
            raw: bytes = scope.get("raw_path") or b""
            if b"%" in raw:
                parts = raw.partition(b"?")[0].decode("latin-1").split("/")
                scope["path"] = "/".join(unquote(part).replace("/", SLASH) for part in parts)
            if self._prefix:
                path: str = scope["path"]
                is_there = path == self._prefix or path.startswith(f"{self._prefix}/")
                scope["path"] = path if is_there else self._prefix + path
                scope["root_path"] = self._prefix
        await self._app(scope, receive, send)
