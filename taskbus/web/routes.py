"""How a route of the API is said: once, by a function. Router, openapi.json and the table of roles are made from that.

    queues = Routes("queues")

    @queues.get("/queues")
    def list_queues(visit: Visit, query: Paging) -> Listing[Queue]:
        \"\"\"Every queue, and how full it is.\"\"\"

    @queues.post("/queues/{name}/purge", role=Role.ADMIN)
    def purge(visit: Visit, name: str, body: DryRun) -> Changed:
        \"\"\"Delete what waits in a queue.\"\"\"

Parts of the path are arguments of their names, as text; ``query`` and ``body`` are checked against their shapes before
the function is called. What it returns is sent as JSON. It runs in a thread, may raise ``Refusal``, and TaskBus's own
errors mean what they say: a ``ConfigError`` is the caller's (400), a ``BrokerError`` or ``StoreError`` that of what is
behind us (503). Reading is for viewers, changing for operators, unless said otherwise.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from taskbus.web.shapes.basis import Given, Role

Handler = TypeVar("Handler", bound=Callable[..., Any])
Method = Literal["GET", "POST"]
API = "/api/v1"
JSON, EVENTS = "application/json", "text/event-stream"
_PART = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. ``path`` is below ``API``; ``name`` is what the audit log calls it: ``queues.purge``.

    ``media`` is the type of the answer; what is not JSON is served by the server itself, ``call`` only describes it.
    """

    method: Method
    path: str
    role: Role
    name: str
    tag: str
    summary: str
    parts: Sequence[str]
    query: type[Given] | None
    body: type[Given] | None
    answer: Any
    call: Callable[..., Any]
    media: str = JSON


class Routes:
    """The routes of one part of the API, in the order in which they were said; ``tag`` is its name."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def get(self, path: str, *, role: Role = Role.VIEWER, media: str = JSON) -> Callable[[Handler], Handler]:
        """Add a route that only reads."""
        return self._add("GET", path, role, media)

    def post(self, path: str, *, role: Role = Role.OPERATOR) -> Callable[[Handler], Handler]:
        """Add a route that changes something."""
        return self._add("POST", path, role, JSON)

    def _add(self, method: Method, path: str, role: Role, media: str) -> Callable[[Handler], Handler]:
        def add(call: Handler) -> Handler:
            self.endpoints.append(read(call, method, path, role, self.tag, media))
            return call

        return add


def read(call: Callable[..., Any], method: Method, path: str, role: Role, tag: str, media: str) -> Endpoint:
    """The endpoint that a function declares. Raises ``TypeError`` if its signature does not fit its path."""
    hints = get_type_hints(call)
    parts = _PART.findall(path)
    given = {"query": hints.pop("query", None), "body": hints.pop("body", None)}
    expected = ["visit", *parts, *(name for name, shape in given.items() if shape is not None)]
    if list(inspect.signature(call).parameters) != expected:
        raise TypeError(f"{call.__qualname__} serves {path}: its parameters must be {', '.join(expected)}")
    if (method == "POST") is not (given["body"] is not None):
        raise TypeError(f"{call.__qualname__} serves {path}: a body is what POST has, and has always")
    return Endpoint(
        method=method,
        path=path,
        role=role,
        name=f"{tag}.{call.__name__}",
        tag=tag,
        summary=(inspect.getdoc(call) or "").partition("\n")[0],
        parts=parts,
        query=given["query"],
        body=given["body"],
        answer=hints["return"],
        call=call,
        media=media,
    )


def gathered(several: Iterable[Routes]) -> list[Endpoint]:
    """The endpoints of all. Raises ``ValueError`` if two are for the same method and path."""
    found: dict[tuple[str, str], Endpoint] = {}
    for endpoint in (endpoint for routes in several for endpoint in routes.endpoints):
        key = endpoint.method, _PART.sub("{}", endpoint.path)
        if key in found:
            raise ValueError(f"{endpoint.method} {endpoint.path} is both {found[key].name} and {endpoint.name}")
        found[key] = endpoint
    return list(found.values())
