"""The web server as an ASGI application: for uvicorn, or mounted inside another one."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.house import House
from taskbus.web.identity import User
from taskbus.web.routes import API, Endpoint
from taskbus.web.serving import SLASH, serve
from taskbus.web.threads import Threads

Identify = Callable[[Request], Awaitable[User]]


def routed(house: House, threads: Threads, who: Identify, endpoints: list[Endpoint] = ENDPOINTS) -> Starlette:
    """The routes of the API, below ``/api/v1``."""

    def route(endpoint: Endpoint) -> Route:
        async def answer(request: Request) -> Response:
            return await serve(request, endpoint, house, threads, who)

        return Route(endpoint.path, answer, methods=[endpoint.method])

    return Starlette(routes=[Mount(API, routes=[route(endpoint) for endpoint in endpoints])])


class WholeParts:
    """Keeps a slash inside a part of the path (``%2F``) apart from one between parts, so that names may hold any."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and b"%" in raw:
            parts = raw.partition(b"?")[0].decode("latin-1").split("/")
            scope = {**scope, "path": "/".join(unquote(part).replace("/", SLASH) for part in parts)}
        await self._app(scope, receive, send)
