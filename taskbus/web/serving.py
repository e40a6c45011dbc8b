"""From a request to an endpoint's function, and back: who asks, what he may, what he gave, what he gets."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskbus.errors import TaskBusError
from taskbus.web.answers import answer, as_refusal, refused
from taskbus.web.house import House, Visit
from taskbus.web.identity import User
from taskbus.web.refusal import Refusal, unfit
from taskbus.web.routes import Endpoint
from taskbus.web.shapes.basis import Given
from taskbus.web.threads import Threads

MAX_BODY = 1 << 20
"""Bytes of a request's body; more is refused unread."""
SLASH = "\x00"
"""Stands for a slash inside a part of a path, which the router must not see; it cannot be in a URL itself."""
G = TypeVar("G", bound=Given)


async def serve(
    request: Request, endpoint: Endpoint, house: House, threads: Threads, who: Callable[[Request], Awaitable[User]]
) -> Response:
    """Answer a request; never raises what is a user's or a broker's fault."""
    try:
        visit = Visit(house, await who(request), request.client.host if request.client else "")
        _must_be_allowed(endpoint, visit)
        given = await arguments(request, endpoint)
        return answer(await threads.run(lambda: endpoint.call(visit, **given)))
    except Refusal as refusal:
        return refused(refusal)
    except TaskBusError as error:
        return refused(as_refusal(error))


def _must_be_allowed(endpoint: Endpoint, visit: Visit) -> None:
    if endpoint.method != "GET" and visit.house.read_only:
        raise Refusal(HTTPStatus.FORBIDDEN, "this server only shows, and changes nothing (--read-only)")
    if visit.user.role < endpoint.role:
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"this needs the role {endpoint.role.name.lower()}, and {visit.user.name!r} is {visit.user.role_name}",
            "ask whoever runs this server for the role",
        )


async def arguments(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the endpoint's function is called with. Raises ``Refusal`` for what does not fit its shapes."""
    given: dict[str, Any] = {part: request.path_params[part].replace(SLASH, "/") for part in endpoint.parts}
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
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is {kind or 'of no type'!r}",
            "send Content-Type: application/json",
        )
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_BODY:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(read) if read else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unfit(f"the body is no JSON: {error}") from None
