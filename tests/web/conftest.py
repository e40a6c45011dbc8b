"""What tests of the web server share: a server in this process, and somebody of any role who asks it."""

from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.web.house import House
from taskbus.web.identity import User
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role

Visitor = Callable[[Role], TestClient]
ROLE = "x-test-role"


async def whoever_says_so(request: Request) -> User | None:
    """Stands for an application that knows who asks: the header names the role."""
    role = request.headers.get(ROLE)
    return User("ann", Role[role], "host") if role else None


@pytest.fixture
def web(app: TaskBus) -> Iterator[Starlette]:
    """The server beside an application on a SQLite file, which knows who asks."""
    yield from running(web_app(app, identify=whoever_says_so))


def running(web: Starlette) -> Iterator[Starlette]:
    """The server, which is stopped afterwards."""
    try:
        yield web
    finally:
        web.state.server.live.close()
        web.state.server.engine.stop()
        web.state.server.threads.close()


@pytest.fixture
def house(web: Starlette) -> House:
    """The parts of that server."""
    found: House = web.state.server.engine.house()
    return found


@pytest.fixture
def visitor(web: Starlette) -> Visitor:
    """A client of that server for each role: ``visitor(Role.VIEWER).get("/api/v1/me")``."""
    return lambda role: asking(web, role)


def asking(web: Starlette, role: Role | None, **headers: str) -> TestClient:
    """A client with a role, or without any."""
    said = {ROLE: role.name} if role is not None else {}
    return TestClient(web, base_url="http://localhost", headers={**said, **headers}, follow_redirects=False)
