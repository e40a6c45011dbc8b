"""An application with something to steer, and clients of each role."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from taskbus import TaskBus, cron
from taskbus.web.shapes.basis import Role
from tests.web.conftest import Visitor


@pytest.fixture
def app(tmp_path: Path) -> Iterator[TaskBus]:
    """An application with two tasks and a schedule."""
    with TaskBus("shop", broker=f"sqlite:///{tmp_path}/app.db") as app:

        @app.task(name="shop.mail")
        def mail(to: str, *, count: int = 1, order: UUID | None = None, password: str = "") -> None: ...

        @app.task(name="shop.bill")
        def bill(number: int) -> None: ...

        app.schedule("nightly", mail.s("ann"), cron("0 3 * * *"))
        yield app


@pytest.fixture
def viewer(visitor: Visitor) -> TestClient:
    return visitor(Role.VIEWER)


@pytest.fixture
def operator(visitor: Visitor) -> TestClient:
    return visitor(Role.OPERATOR)


@pytest.fixture
def admin(visitor: Visitor) -> TestClient:
    return visitor(Role.ADMIN)
