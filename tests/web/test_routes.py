"""How a route is said, and what becomes of a request to it."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

import pytest
from msgspec import Meta
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.errors import BrokerError, ConfigError, StoreError
from taskbus.web.house import House, Visit
from taskbus.web.refusal import conflict
from taskbus.web.routes import Routes, gathered
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Changed, Given, Role, Shape
from tests.web.conftest import Visitor, asking, running, whoever_says_so

shelf = Routes("shelf")


class Which(Given):
    """A query with a bound."""

    limit: Annotated[int, Meta(ge=1, le=5)] = 2


class Book(Given):
    """A body."""

    title: str


class Read(Shape):
    """An answer."""

    name: str
    limit: int


@shelf.get("/books/{name}")
def look(visit: Visit, name: str, query: Which) -> Read:
    """One book."""
    return Read(name=name, limit=query.limit)


@shelf.post("/books/{name}/burn", role=Role.ADMIN)
def burn(visit: Visit, name: str, body: Book) -> Changed:
    """End a book."""
    errors = {"broker": BrokerError, "store": StoreError, "config": ConfigError}
    if body.title in errors:
        raise errors[body.title](f"the {body.title} said no")
    if body.title == "glued":
        raise conflict("it is glued to the shelf", "fetch a knife")
    return Changed(changed=True, count=len(body.title))


@pytest.fixture
def web(app: TaskBus) -> Iterator[Starlette]:
    yield from running(web_app(app, identify=whoever_says_so, endpoints=gathered([shelf])))


@pytest.fixture
def shelf_of(web: Starlette) -> Visitor:
    return lambda role: asking(web, role)


def test_parts_of_the_path_and_a_checked_query_reach_the_function(shelf_of: Visitor) -> None:
    assert shelf_of(Role.VIEWER).get("/api/v1/books/emma?limit=5").json() == {"name": "emma", "limit": 5}


@pytest.mark.parametrize("name", ["a/b", "a b", "ä", "%2F", "..", "?x", "a/burn", "<script>"])
def test_a_name_with_any_sign_is_one_part_of_the_path(shelf_of: Visitor, name: str) -> None:
    found = shelf_of(Role.VIEWER).get(f"/api/v1/books/{quote(name, safe='').replace('.', '%2E')}").json()
    assert found["name"] == name


@pytest.mark.parametrize("query", ["limit=6", "limit=many", "limit=0", "page=1"])
def test_a_query_that_does_not_fit_is_refused_and_told_what_fits(shelf_of: Visitor, query: str) -> None:
    found = shelf_of(Role.VIEWER).get(f"/api/v1/books/emma?{query}")
    assert found.status_code == 400
    assert "limit" in found.json()["advice"]


def test_a_role_too_low_is_refused_and_told_which_is_needed(shelf_of: Visitor) -> None:
    for role, status in ((Role.VIEWER, 403), (Role.OPERATOR, 403), (Role.ADMIN, 200)):
        found = shelf_of(role).post("/api/v1/books/emma/burn", json={"title": "emma"})
        assert found.status_code == status
        assert (status == 200) or "role admin" in found.json()["error"]


def test_a_server_that_only_shows_refuses_every_change(house: House, shelf_of: Visitor) -> None:
    house.read_only = True
    assert shelf_of(Role.ADMIN).post("/api/v1/books/emma/burn", json={"title": "emma"}).status_code == 403
    assert shelf_of(Role.ADMIN).get("/api/v1/books/emma").status_code == 200


@pytest.mark.parametrize(
    ("title", "status"), [("broker", 503), ("store", 503), ("config", 400), ("glued", 409), ("emma", 200)]
)
def test_an_error_becomes_a_status_with_what_happened(shelf_of: Visitor, title: str, status: int) -> None:
    found = shelf_of(Role.ADMIN).post("/api/v1/books/emma/burn", json={"title": title})
    assert found.status_code == status
    assert status == 200 or set(found.json()) == {"error", "advice"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b'{"title": 1}', "application/json", 400),
        (b'{"title": "x", "more": 1}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"title": "\xff"}', "application/json", 400),
        (b"title=x", "application/x-www-form-urlencoded", 415),
        (b'{"title": "x"}', "text/plain", 415),
        (b'{"title": "' + b"x" * (1 << 20) + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_does_not_fit_is_refused(shelf_of: Visitor, body: bytes, kind: str, status: int) -> None:
    found = shelf_of(Role.ADMIN).post("/api/v1/books/emma/burn", content=body, headers={"content-type": kind})
    assert found.status_code == status, found.text
    assert found.json()["error"]


def test_a_function_that_does_not_fit_its_path_is_refused_when_it_is_declared() -> None:
    routes = Routes("wrong")
    with pytest.raises(TypeError, match="must be visit, name"):

        @routes.get("/books/{name}")
        def other(visit: Visit, title: str) -> Read:
            raise AssertionError

    with pytest.raises(TypeError, match="POST"):

        @routes.post("/books")
        def bodiless(visit: Visit) -> Read:
            raise AssertionError


def test_two_functions_for_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        gathered([shelf, shelf])
