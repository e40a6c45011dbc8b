"""The web server as an ASGI application: for uvicorn, or mounted inside another one."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from taskbus.app import TaskBus
from taskbus.web.answers import answer, refused
from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.auth.address import Addresses
from taskbus.web.auth.doorkeeper import Hosted
from taskbus.web.auth.opening import Opened, metrics_keeper, open_door
from taskbus.web.engine import Engine
from taskbus.web.exposing import Scrapes
from taskbus.web.guard import HEADERS, Guard, Places
from taskbus.web.identity import User
from taskbus.web.live import Live
from taskbus.web.page import Assets, Page, bare
from taskbus.web.refusal import Refusal
from taskbus.web.routes import API, Endpoint
from taskbus.web.serving import Server, serve
from taskbus.web.threads import Threads

log = logging.getLogger(__name__)
STATE_COOKIE = "taskbus_signing_in"
STATE_FOR = 600
Identify = Callable[[Request], Awaitable[User | None]]


def web_app(
    app: TaskBus,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    hosts: Sequence[str] = (),
    read_only: bool = False,
    insecure: bool = False,
    knows_code: bool = True,
    http: str = "",
    endpoints: Sequence[Endpoint] = ENDPOINTS,
) -> Starlette:
    """The page and its JSON API for ``app``, as a Starlette application.

    Mounted in another application (``Mount("/taskbus", web_app(app, identify=...))``), ``identify`` says who asks: a
    ``User`` with a role, or None. Without it the ``web_*`` settings do, and without those nobody is asked, and only
    this machine is served (``insecure``: others too).

    It starts with the first request, or with its lifespan; it ends with that. Starlette does not run the lifespan of
    what is mounted: have yours hold ``async with web.router.lifespan_context(web)``.

    Args:
        prefix: the path below which it is, where a proxy leads to it; not for mounting.
        hosts: names by which it may be asked; empty: any.
        knows_code: ``app`` is the user's own, not one of URLs alone.
        http: where it is, to be told to other processes.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    threads = Threads()
    engine = Engine(app, knows_code=knows_code, is_read_only=read_only, http=http)
    if identify is not None:
        opened = Opened(Hosted(Addresses(app.config.web_proxies), identify), [], "", False)
    else:
        opened = open_door(app.config, app.clock, threads, is_insecure=insecure)
    server = Server(engine, threads, opened.door, Live(engine.house), app.config.web_url)
    web = Starlette(
        routes=_routes(server, opened, endpoints),
        middleware=_middleware(opened, prefix.rstrip("/"), hosts),
        exception_handlers={Refusal: _refused, HTTPException: _not_found, Exception: _broken},
        lifespan=_lifespan(server),
    )
    web.state.server = server
    return web


def stop_streams(web: Starlette) -> None:
    """End the live streams, so that a server which waits for its connections can stop."""
    server: Server = web.state.server
    server.live.close()


def _routes(server: Server, opened: Opened, endpoints: Sequence[Endpoint]) -> list[BaseRoute]:
    config, clock = server.engine.app.config, server.engine.app.clock
    page = Page(opened.door, can_sign_in=bool(opened.routes))
    api = [_route(endpoint, server) for endpoint in endpoints]
    nothing = Route("/{rest:path}", _missing, methods=["GET", "POST"])
    return [
        Mount(API, routes=[*api, nothing]),
        *opened.routes,
        Route("/metrics", Scrapes(server, metrics_keeper(config, opened.door, clock)).respond, methods=["GET"]),
        *(Route(f"/healthz/{probe}", _probe(server, probe), methods=["GET"]) for probe in ("live", "ready", "startup")),
        Mount("/assets", Assets()),
        Route("/{rest:path}", page.show, methods=["GET"]),
    ]


def _route(endpoint: Endpoint, server: Server) -> Route:
    async def respond(request: Request) -> Response:
        return await serve(request, endpoint, server)

    return Route(endpoint.path, respond, methods=[endpoint.method], name=endpoint.name)


def _probe(server: Server, probe: str) -> Callable[[Request], Awaitable[Response]]:
    """*live*: it answers. *ready*, *startup*: its parts are open; a broker that is away changes nothing of that."""

    async def respond(_: Request) -> Response:
        is_ok = probe == "live" or server.engine.is_running
        reasons = [] if is_ok else ["it is starting, or cannot open the store of results"]
        said = {"probe": probe, "status": "ok" if is_ok else "failing", "reasons": reasons, "kind": "web"}
        return answer(said, HTTPStatus.OK if is_ok else HTTPStatus.SERVICE_UNAVAILABLE)

    return respond


def _middleware(opened: Opened, prefix: str, hosts: Sequence[str]) -> list[Middleware]:
    found = [Middleware(Places, prefix=prefix), Middleware(Guard, hosts=hosts)]
    if opened.key:
        found.append(
            Middleware(
                SessionMiddleware,
                secret_key=opened.key,
                session_cookie=STATE_COOKIE,
                max_age=STATE_FOR,
                same_site="lax",
                https_only=opened.is_secure,
                path=prefix or "/",
            )
        )
    return found


def _lifespan(server: Server) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await server.threads.run(server.engine.house)
        try:
            yield
        finally:
            server.live.close()
            await server.threads.run(server.engine.stop)
            server.threads.close()

    return lifespan


async def _missing(request: Request) -> Response:
    raise Refusal(HTTPStatus.NOT_FOUND, f"there is no {request.url.path}", "see /api/v1/openapi.json for what there is")


async def _refused(request: Request, error: Exception) -> Response:
    """A browser that goes somewhere is told in HTML."""
    assert isinstance(error, Refusal)
    is_page = "text/html" in request.headers.get("accept", "") and API not in request.url.path
    return bare(error) if is_page else refused(error)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(
        Refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
    )


async def _broken(request: Request, error: Exception) -> Response:
    """What is a fault of ours; the server logs it with its traceback."""
    text = f"this is a fault of TaskBus ({type(error).__name__})"
    response = refused(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, text, "the server's log says more; please report it"))
    response.headers.update(HEADERS)
    return response
