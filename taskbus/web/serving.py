"""From a request to an endpoint's function, and back: who asks, what he may, what he gave, what he gets."""

from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskbus.errors import TaskBusError
from taskbus.web.answers import answer, as_refusal, refused
from taskbus.web.audit import perform, refuse
from taskbus.web.auth.doorkeeper import Door, must_be_own
from taskbus.web.engine import Engine
from taskbus.web.guard import SLASH
from taskbus.web.house import Visit
from taskbus.web.live import Live, Stream
from taskbus.web.refusal import Refusal, unfit
from taskbus.web.routes import EVENTS, Endpoint
from taskbus.web.shapes.basis import Given
from taskbus.web.threads import Threads

MAX_BODY = 1 << 20
"""Bytes of a request's body; more is refused unread."""
G = TypeVar("G", bound=Given)


class Server(NamedTuple):
    """What it takes to answer requests. ``own_url``: where users reach the server, "" if only it knows."""

    engine: Engine
    threads: Threads
    door: Door
    live: Live
    own_url: str = ""


async def serve(request: Request, endpoint: Endpoint, server: Server) -> Response:
    """Answer a request; never raises what is a user's or a broker's fault."""
    try:
        user = await server.door.who(request)
        house = await server.threads.run(server.engine.house)
        visit = Visit(house, user, server.door.address(request))
        await _must_be_allowed(request, endpoint, visit, server)
        given = await arguments(request, endpoint)
        if endpoint.media == EVENTS:
            return Stream(server.live, given["query"].view)
        return answer(await server.threads.run(partial(perform, endpoint, visit, given)))
    except Refusal as refusal:
        return refused(refusal)
    except TaskBusError as error:
        return refused(as_refusal(error))


async def _must_be_allowed(request: Request, endpoint: Endpoint, visit: Visit, server: Server) -> None:
    """Raise ``Refusal`` where it is not; what would have changed something is told of in the audit log."""
    try:
        if endpoint.method != "GET":
            must_be_own(request, server.own_url)
        if endpoint.method != "GET" and visit.house.read_only:
            text = "this server only shows, and changes nothing (--read-only)"
            raise Refusal(HTTPStatus.FORBIDDEN, text, "use another one, or the command line")
        if visit.user.role < endpoint.role:
            text = (
                f"this needs the role {endpoint.role.name.lower()}, and {visit.user.name!r} is {visit.user.role_name}"
            )
            raise Refusal(HTTPStatus.FORBIDDEN, text, "ask whoever runs this server for the role")
    except Refusal as refusal:
        if endpoint.method != "GET":
            await server.threads.run(partial(refuse, endpoint, visit, parts_of(request, endpoint), refusal.text))
        raise


def parts_of(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the path says."""
    return {part: request.path_params[part].replace(SLASH, "/") for part in endpoint.parts}


async def arguments(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the endpoint's function is called with. Raises ``Refusal`` for what does not fit its shapes."""
    given = parts_of(request, endpoint)
    if endpoint.query is not None:
        given["query"] = _checked("the query", dict(request.query_params), endpoint.query, strict=False)
    if endpoint.body is not None:
        given["body"] = _checked("the body", await _body(request), endpoint.body, strict=True)
    return given


def _checked(what: str, given: Any, shape: type[G], *, strict: bool) -> G:
    try:
        return msgspec.convert(given, shape, strict=strict)
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(shape)) or "nothing"
        raise unfit(f"{what} cannot be used: {error}", f"it may hold {known}") from None


async def _body(request: Request) -> Any:
    """The JSON in the body; {} where there is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        text = f"the body is {kind or 'of no type'!r}"
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text, "send Content-Type: application/json")
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_BODY:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(read) if read else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unfit(f"the body is no JSON: {error}") from None
