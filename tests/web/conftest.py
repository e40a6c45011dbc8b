"""What tests of the web server share: a server in this process, and somebody of any role who asks it."""

from collections.abc import Callable, Iterator

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.web.house import House
from taskbus.web.identity import User
from taskbus.web.server import WholeParts, routed
from taskbus.web.shapes.basis import Role
from taskbus.web.threads import Threads

Visitor = Callable[[Role], TestClient]


@pytest.fixture
def house(app: TaskBus) -> House:
    """The parts of a server beside an application on a SQLite file."""
    return House(app, knows_code=True)


@pytest.fixture
def visitor(house: House) -> Iterator[Visitor]:
    """A client of the API for each role: ``visitor(Role.VIEWER).get("/api/v1/me")``."""
    threads = Threads()

    def made(role: Role) -> TestClient:
        async def who(request: Request) -> User:
            return User("ann", role, "host")

        return TestClient(WholeParts(routed(house, threads, who)), base_url="http://localhost")

    yield made
    threads.close()
