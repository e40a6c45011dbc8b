"""What holds for every request: hosts, other sites, headers, prefixes; and how the page's files are served."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.web import page
from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.routes import API
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.web.conftest import Visitor, asking, running, whoever_says_so

PAUSE = "/api/v1/queues/mail/pause"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HTML = {"Accept": "text/html,*/*"}
Serve = Callable[..., Starlette]


@pytest.fixture
def serve(app: TaskBus) -> Iterator[Serve]:
    held: list[Iterator[Starlette]] = []

    def made(**options: object) -> Starlette:
        held.append(running(web_app(app, identify=whoever_says_so, **options)))  # type: ignore[arg-type]
        return next(held[-1])

    yield made
    for each in held:
        each.close()  # type: ignore[attr-defined]


# --- other names, other sites ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:5555", 200),
        ("127.0.0.1", 200),
        ("[::1]:5555", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example:localhost", 421),
    ],
)
def test_a_server_of_this_machine_answers_to_its_own_names_alone(serve: Serve, host: str, status: int) -> None:
    """DNS rebinding: a page elsewhere makes its own name lead here."""
    client = asking(serve(hosts=["localhost", "127.0.0.1", "::1"]), Role.ADMIN)
    for path in ("/api/v1/me", "/", "/assets/x.js"):
        answer = client.get(path, headers={"Host": host, **HTML})
        assert (answer.status_code == 421) == (status == 421)
        assert answer.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://shop.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "nonsense"}, 403),
        ({"Origin": "http://"}, 403),
    ],
)
def test_a_change_that_another_site_asks_for_is_refused(visitor: Visitor, headers: dict[str, str], status: int) -> None:
    client = visitor(Role.ADMIN)
    assert client.post(PAUSE, json={}, headers=headers).status_code == status
    (entry,) = client.get("/api/v1/audit").json()["items"]
    assert entry["detail"].startswith("refused") == (status == 403)
    is_paused = [queue["is_paused"] for queue in client.get("/api/v1/queues").json()["items"]]
    assert is_paused == ([True] if status == 200 else [])


def test_behind_a_proxy_the_public_name_counts_as_its_own(tmp_path: Path) -> None:
    with TaskBus("t", broker=f"sqlite:///{tmp_path}/a.db", web_url="https://shop.example/taskbus") as app:
        held = running(web_app(app, identify=whoever_says_so))
        client = asking(next(held), Role.ADMIN)
        assert client.post(PAUSE, json={}, headers={"Origin": "https://shop.example"}).status_code == 200
        assert client.post(PAUSE, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
        held.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_no_form_of_another_site_can_be_taken_for_a_change(visitor: Visitor, kind: str) -> None:
    answer = visitor(Role.ADMIN).post(PAUSE, content="{}", headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/api/v1/nothing", "/assets/none.js", "/tasks", "/auth/signin"])
def test_every_answer_has_the_strict_headers(visitor: Visitor, path: str) -> None:
    headers = visitor(Role.VIEWER).get(path, headers=HTML).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "access-control-allow-origin" not in headers


def test_an_answer_of_the_api_is_kept_nowhere(visitor: Visitor) -> None:
    assert visitor(Role.VIEWER).get("/api/v1/me").headers["cache-control"] == "no-store"


# --- prefixes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/taskbus/api/v1/me", "/api/v1/me"])
def test_below_a_prefix_it_does_not_matter_whether_the_proxy_took_it_off(serve: Serve, path: str) -> None:
    assert asking(serve(prefix="/taskbus/"), Role.VIEWER).get(path).status_code == 200


def test_mounted_in_another_application_it_works_below_its_path(serve: Serve) -> None:
    outer = Starlette(routes=[Mount("/ops/tasks", serve())])
    client = asking(outer, Role.OPERATOR)
    assert client.get("/ops/tasks/api/v1/me").json()["user"] == "ann"
    assert client.post("/ops/tasks/api/v1/queues/a%20b%2Fc/pause", json={}).status_code == 400
    page = client.get("/ops/tasks/", headers=HTML).text  # the built one, or the one that says how to build it
    assert '="/ops/tasks/' in page and '="/assets' not in page


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<base x="__BASE__"><script src="__BASE__assets/app-1a2b.js"></script>')
    (folder / "assets" / "app-1a2b.js").write_text("export {}")
    (folder / "assets" / "look-1a2b.css").write_text("body {}")
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "assets" / "way-out.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(page, "FOLDER", folder)
    monkeypatch.setattr(page.Assets.__init__, "__defaults__", (folder,))
    monkeypatch.setattr(page.Page.__init__, "__kwdefaults__", {"folder": folder})
    return folder


def test_every_place_of_the_page_is_its_index_with_the_base_filled_in(built: Path, serve: Serve) -> None:
    client = asking(serve(prefix="/t"), Role.VIEWER)
    assert client.get("/t", headers=HTML).headers["location"] == "http://localhost/t/"
    for place in ("/t/", "/t/tasks/mail.send", "/t/queues/a%2Fb"):
        found = client.get(place, headers=HTML)
        assert found.status_code == 200, place
        assert found.text == '<base x="/t/"><script src="/t/assets/app-1a2b.js"></script>'
        assert found.headers["content-type"] == "text/html; charset=utf-8"
        assert found.headers["cache-control"] == "no-cache"
        again = client.get(place, headers={**HTML, "If-None-Match": found.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_assets_have_their_types_and_are_kept_for_good(built: Path, visitor: Visitor) -> None:
    client = visitor(Role.VIEWER)
    script, style = client.get("/assets/app-1a2b.js"), client.get("/assets/look-1a2b.css")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/assets/app-1a2b.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/assets/none.js", "/assets/../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/way-out.txt",
     "/assets//etc/passwd", "/assets/%00", "/assets/" + "x" * 5000, "/assets/", "/favicon.ico", "/robots.txt"],
)  # fmt: skip
def test_what_is_not_the_pages_is_not_found(built: Path, visitor: Visitor, path: str) -> None:
    answer = visitor(Role.VIEWER).get(path)
    assert answer.status_code == 404
    assert "outside" not in answer.text and answer.json()["error"]


def test_without_the_built_page_there_is_one_that_says_how_to_build_it(visitor: Visitor, tmp_path: Path) -> None:
    if (page.FOLDER / "index.html").exists():
        pytest.skip("the page is built here")
    found = visitor(Role.VIEWER).get("/", headers=HTML)
    assert found.status_code == 200
    assert "pip install" in found.text and "<script" not in found.text and "style=" not in found.text


# --- the API as a whole ---------------------------------------------------------------------------------------------


def test_the_description_of_the_api_is_valid_and_tells_every_route(visitor: Visitor) -> None:
    found = visitor(Role.VIEWER).get("/api/v1/openapi.json").json()
    validate(found)
    told = {(method.upper(), path) for path, operations in found["paths"].items() for method in operations}
    assert told == {(endpoint.method, API + endpoint.path) for endpoint in ENDPOINTS}
    assert found["paths"]["/api/v1/dlq/purge"]["post"]["x-role"] == "admin"


def test_what_there_is_not_is_told_as_json_with_advice(visitor: Visitor) -> None:
    client = visitor(Role.VIEWER)
    for answer in (client.get("/api/v1/none", headers=HTML), client.post("/api/v1/none"), client.delete("/api/v1/me")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]
    assert client.options("/api/v1/me").status_code == 405


def test_a_fault_of_ours_is_an_answer_without_its_text(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    web = serve()
    monkeypatch.setattr(type(web.state.server.engine), "house", lambda self: 1 / 0)
    client = TestClient(
        web, base_url="http://localhost", headers={"x-test-role": "ADMIN"}, raise_server_exceptions=False
    )
    answer = client.get("/api/v1/me")
    assert answer.status_code == 500
    assert "division" not in answer.text and "fault of TaskBus" in answer.json()["error"]
    assert answer.headers["content-security-policy"] == POLICY
