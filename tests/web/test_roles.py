"""Every route against every role, and against nobody; and what a change leaves in the audit log."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.config import Config
from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.auth.hashing import hash_password, hash_token, new_token
from taskbus.web.routes import API, EVENTS, Endpoint
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.web.conftest import Visitor, asking, running, whoever_says_so

HOSTILE = "<img src=x onerror=alert(1)>'\"\n\x1b[31m/../%2e"
ROLES = [None, *Role]


def path_of(endpoint: Endpoint, name: str = "nothing-of-that-name") -> str:
    path = API + endpoint.path
    for part in endpoint.parts:
        path = path.replace(f"{{{part}}}", quote(name, safe=""))
    return path


def named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


STREAMS = [endpoint for endpoint in ENDPOINTS if endpoint.media == EVENTS]
PLAIN = [endpoint for endpoint in ENDPOINTS if endpoint.media != EVENTS]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    """One server for all cells of the tables, in which nothing is changed; and below one that only shows."""
    with TaskBus("tests", broker=f"sqlite:///{tmp_path_factory.mktemp('shared')}/app.db") as app:
        yield from running(web_app(app, identify=whoever_says_so))


@pytest.fixture(scope="module")
def shows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    with TaskBus("tests", broker=f"sqlite:///{tmp_path_factory.mktemp('shows')}/app.db") as app:
        yield from running(web_app(app, identify=whoever_says_so, read_only=True))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name.lower() if role else "nobody")
@pytest.mark.parametrize("endpoint", PLAIN, ids=named)
def test_every_route_lets_in_exactly_those_whose_role_is_enough(
    shared: Starlette, endpoint: Endpoint, role: Role | None
) -> None:
    """401 for nobody and 403 for too low a role, before anything of the request is looked at; else neither of them."""
    client = asking(shared, role)
    if endpoint.method == "GET":
        answer = client.get(path_of(endpoint))
    else:
        answer = client.post(path_of(endpoint), json={"no such field": 1})
    expected = 401 if role is None else 403 if role < endpoint.role else None
    if expected is not None:
        assert answer.status_code == expected
        assert set(answer.json()) == {"error", "advice"}
    else:
        assert answer.status_code in (200, 400, 404)
        assert endpoint.method == "GET" or answer.status_code == 400, "a field that is not known was taken"


@pytest.mark.parametrize("endpoint", STREAMS, ids=named)
def test_nobody_gets_no_stream(shared: Starlette, endpoint: Endpoint) -> None:
    assert asking(shared, None).get(path_of(endpoint)).status_code == 401


def test_the_table_of_roles_is_what_was_agreed() -> None:
    """Reading is for viewers. What deletes or stops for good is for admins; a new route must be put here on purpose."""
    changing = {f"{endpoint.path}": endpoint.role for endpoint in ENDPOINTS if endpoint.method == "POST"}
    assert all(endpoint.role is Role.VIEWER for endpoint in ENDPOINTS if endpoint.method == "GET")
    assert {path for path, role in changing.items() if role is Role.ADMIN} == {
        "/queues/{name}/purge",
        "/nodes/{name}/stop",
        "/dlq/purge",
    }
    assert set(changing.values()) == {Role.OPERATOR, Role.ADMIN}


@pytest.mark.parametrize("endpoint", [each for each in PLAIN if each.parts], ids=named)
def test_no_route_breaks_on_a_hostile_name(shared: Starlette, endpoint: Endpoint) -> None:
    path = path_of(endpoint, HOSTILE)
    client = asking(shared, Role.ADMIN)
    answer = client.get(path) if endpoint.method == "GET" else client.post(path, json={})
    assert answer.status_code < 500
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("endpoint", PLAIN, ids=named)
def test_no_route_breaks_on_a_hostile_query(shared: Starlette, endpoint: Endpoint) -> None:
    if endpoint.method == "GET":
        values = {
            "where": HOSTILE,
            "after": HOSTILE,
            "queues": HOSTILE,
            "range": HOSTILE,
            "sort": HOSTILE,
            "limit": "1e9",
        }
        known = endpoint.query.__struct_fields__ if endpoint.query is not None else ()
        answer = asking(shared, Role.ADMIN).get(
            path_of(endpoint), params={name: values.get(name, HOSTILE) for name in known}
        )
        assert answer.status_code < 500, answer.text


# --- the audit log --------------------------------------------------------------------------------------------------


def audited(visitor: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = visitor(Role.VIEWER).get("/api/v1/audit").json()["items"]
    return found


def test_a_change_is_in_the_audit_log_with_who_and_what(visitor: Visitor) -> None:
    assert visitor(Role.OPERATOR).post("/api/v1/queues/mail/pause", json={}).json()["changed"] is True
    (entry,) = audited(visitor)
    assert (entry["user"], entry["role"], entry["action"], entry["target"]) == (
        "ann",
        "operator",
        "queues.pause",
        "mail",
    )


def test_the_audit_log_counts_what_was_changed(visitor: Visitor) -> None:
    operator = visitor(Role.OPERATOR)
    for _ in range(2):
        operator.post("/api/v1/queues/mail/pause", json={})
    operator.post("/api/v1/tasks", json={"task": "shop.pay"})
    operator.post("/api/v1/tasks/unknown/retry", json={})
    assert operator.post("/api/v1/nodes/nobody/grow", json={"n": 1}).status_code == 404
    counts = [(entry["action"], entry["count"]) for entry in reversed(audited(visitor))]
    assert counts == [
        ("queues.pause", 1),
        ("queues.pause", 0),
        ("tasks.send_one", 1),
        ("tasks.retry", 0),
        ("nodes.grow", 0),
    ]


def test_a_refused_change_is_in_the_audit_log_too(visitor: Visitor) -> None:
    assert visitor(Role.VIEWER).post("/api/v1/queues/mail/pause", json={}).status_code == 403
    (entry,) = audited(visitor)
    assert (entry["user"], entry["role"], entry["count"]) == ("ann", "viewer", 0)
    assert entry["detail"].startswith("refused: this needs the role operator")


def test_a_change_that_failed_says_so_in_the_audit_log(visitor: Visitor) -> None:
    assert visitor(Role.ADMIN).post("/api/v1/tasks/unknown/retry", json={}).status_code == 404
    (entry,) = audited(visitor)
    assert entry["detail"].startswith("failed: ")


def test_reading_and_dry_runs_leave_no_entry(visitor: Visitor) -> None:
    visitor(Role.ADMIN).get("/api/v1/queues")
    visitor(Role.ADMIN).post("/api/v1/dlq/purge", json={"where": "age>0s", "dry_run": True})
    assert audited(visitor) == []


def test_secrets_of_a_body_are_not_in_the_audit_log(visitor: Visitor) -> None:
    body = {"task": "shop.pay", "kwargs": {"password": "hunter2-secret", "amount": 5}}
    visitor(Role.OPERATOR).post("/api/v1/tasks", json=body)
    (entry,) = audited(visitor)
    assert "hunter2" not in str(entry)
    assert "amount" in entry["detail"]


# --- reading only ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [each for each in PLAIN if each.method == "POST"], ids=named)
def test_a_server_that_only_shows_refuses_every_change(shows: Starlette, endpoint: Endpoint) -> None:
    answer = asking(shows, Role.ADMIN).post(path_of(endpoint), json={})
    assert answer.status_code == 403
    assert "only shows" in answer.json()["error"]


# --- secrets --------------------------------------------------------------------------------------------------------


def test_no_secret_of_the_settings_is_in_any_answer(tmp_path: Any) -> None:
    made = {"web_tokens": hash_token(new_token()), "web_users": hash_password("correct horse")}
    secrets = {"web_secret": "s" * 40, "web_oidc_client_secret": "client-secret-value"}
    app = TaskBus(
        "secretive",
        broker=f"sqlite:///{tmp_path}/app.db",
        web_tokens=(f"bot:viewer:{made['web_tokens']}",),
        web_users=(f"ann:admin:{made['web_users']}",),
        **secrets,
    )
    web = web_app(app, identify=whoever_says_so)
    try:
        text = asking(web, Role.ADMIN).get("/api/v1/system").text
        assert "web_secret" in text
        assert not [value for value in (*made.values(), *secrets.values()) if value in text]
        assert not [value for value in (*made.values(), *secrets.values()) if value in repr(app.config)]
    finally:
        web.state.server.engine.stop()
        web.state.server.threads.close()
    assert isinstance(app.config, Config)
