"""Who is let in: tokens, passwords, a proxy's word, the cookie of those who signed in; and who is not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.errors import ConfigError
from taskbus.testing.clock import MovableClock
from taskbus.web.auth.address import Addresses
from taskbus.web.auth.failures import MOST, WITHIN, Failures
from taskbus.web.auth.hashing import Cost, hash_password, hash_token, is_password, new_token
from taskbus.web.auth.mapping import RoleTable
from taskbus.web.auth.session import COOKIE
from taskbus.web.refusal import Refusal
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.web.conftest import running

ME = "/api/v1/me"
Serve = Callable[..., TestClient]
PASSWORD = "correct horse battery"
CHEAP = Cost(10, 8, 1)
HASHED = hash_password(PASSWORD, CHEAP)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A client of a server with these settings, which comes from ``address``."""
    opened: list[Any] = []

    def made(
        address: str = "127.0.0.1", *, web: Starlette | None = None, insecure: bool = False, **settings: Any
    ) -> Any:
        if web is None:
            app = TaskBus("tests", broker=f"sqlite:///{tmp_path}/app.db", **settings)
            held = running(web_app(app, insecure=insecure))
            web = next(held)
            opened.extend([held, app])
        return TestClient(web, base_url="http://localhost", client=(address, 4711), follow_redirects=False)

    yield made
    for each in opened:
        each.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- without auth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 403), ("::ffff:10.0.0.7", 403)]
)
def test_without_auth_only_this_machine_is_served(serve: Serve, address: str, status: int) -> None:
    assert serve(address).get(ME).status_code == status


def test_without_auth_others_are_served_where_that_is_asked_for(serve: Serve) -> None:
    assert serve("10.0.0.7", insecure=True).get(ME).json()["role"] == "admin"


# --- tokens and passwords -------------------------------------------------------------------------------------------


def test_a_token_lets_its_owner_in_with_its_role(serve: Serve) -> None:
    token = new_token()
    client = serve("10.0.0.7", web_auth="token", web_tokens=f"bot:operator:{hash_token(token)}")
    found = client.get(ME, headers=bearer(token)).json()
    assert (found["user"], found["role"], found["auth"]) == ("bot", "operator", "token")


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Bearer \xff\xfe", "Basic !!", "Basic Og==", "Digest x", "x" * 9000]
)
def test_what_is_no_token_of_ours_is_refused(serve: Serve, header: str) -> None:
    client = serve(
        web_auth="token,basic", web_tokens=f"bot:admin:{hash_token(new_token())}", web_users=f"ann:admin:{HASHED}"
    )
    answer = client.get(ME, headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_password_lets_its_owner_in(serve: Serve) -> None:
    client = serve(web_auth="basic", web_users=f"ann:viewer:{HASHED}")
    assert client.get(ME, auth=("ann", PASSWORD)).json()["auth"] == "basic"
    assert client.get(ME, auth=("ann", PASSWORD)).status_code == 200
    assert client.get(ME, auth=("ann", PASSWORD + "x")).status_code == 401
    assert client.get(ME, auth=("bob", PASSWORD)).status_code == 401


def test_a_browser_is_not_asked_by_its_own_dialog(serve: Serve) -> None:
    client = serve(web_auth="basic", web_users=f"ann:viewer:{HASHED}")
    assert "www-authenticate" in client.get(ME).headers
    assert "www-authenticate" not in client.get(ME, headers={"Sec-Fetch-Mode": "cors"}).headers


def test_a_hash_tells_its_password_from_others_and_is_another_one_each_time() -> None:
    assert is_password(PASSWORD, HASHED) and not is_password("other", HASHED)
    assert hash_password(PASSWORD, CHEAP) != HASHED
    assert is_password("päss\udcff", hash_password("päss\udcff"))


def test_after_ten_failures_an_address_is_not_listened_to_even_with_the_right_token(serve: Serve) -> None:
    token = new_token()
    settings = {"web_auth": "token", "web_tokens": f"bot:operator:{hash_token(token)}"}
    client = serve("10.0.0.7", **settings)
    for _ in range(MOST):
        assert client.get(ME, headers=bearer("wrong")).status_code == 401
    answer = client.get(ME, headers=bearer(token))
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= WITHIN
    other: TestClient = serve("10.0.0.8", web=client.app)
    assert other.get(ME, headers=bearer(token)).status_code == 200


def test_failures_are_forgotten_in_time_and_take_bounded_memory() -> None:
    clock = MovableClock(1000.0)
    failures = Failures(clock)
    for _ in range(MOST):
        failures.add("2001:db8::1")
    with pytest.raises(Refusal):
        failures.check("2001:db8::ffff")  # of the same network: whoever has one address has all
    failures.check("2001:db8:1::1")
    clock.advance(WITHIN + 1)
    failures.check("2001:db8::1")


# --- the cookie -----------------------------------------------------------------------------------------------------


def sign_in(client: TestClient, **form: str) -> Any:
    return client.post("/auth/signin", data={"next": "/queues", **form})


def test_signing_in_by_form_gives_a_cookie_that_scripts_and_other_sites_cannot_use(serve: Serve) -> None:
    client = serve(web_auth="basic", web_users=f"ann:operator:{HASHED}", web_url="https://shop.example")
    answer = sign_in(client, name="ann", secret=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Secure"} <= {part.strip() for part in cookie.split(";")}
    held = cookie.partition(";")[0]
    assert client.get(ME, headers={"Cookie": held}).json()["role"] == "operator"
    assert client.get(ME, headers={"Cookie": held[:-2] + "xx"}).status_code == 401


def test_a_token_signs_in_by_form_too_and_a_wrong_one_does_not(serve: Serve) -> None:
    token = new_token()
    client = serve(web_auth="token", web_tokens=f"bot:viewer:{hash_token(token)}")
    refused = sign_in(client, secret="wrong")
    assert refused.status_code == 401 and "set-cookie" not in refused.headers
    assert sign_in(client, secret=token).status_code == 303
    assert client.get(ME).json()["auth"] == "token"
    assert client.post("/auth/signout").status_code == 303
    assert client.get(ME).status_code == 401


def test_a_session_ends_when_its_password_is_changed_and_has_the_role_of_now(serve: Serve) -> None:
    common = {"web_auth": "basic", "web_secret": "s" * 32}
    before = serve(web_users=f"ann:admin:{HASHED}", **common)
    held = sign_in(before, name="ann", secret=PASSWORD).cookies[COOKIE]
    lower = serve(web_users=f"ann:viewer:{HASHED}", **common)
    assert lower.get(ME, headers={"Cookie": f"{COOKIE}={held}"}).json()["role"] == "viewer"
    changed = serve(web_users=f"ann:admin:{hash_password('another one', CHEAP)}", **common)
    assert changed.get(ME, headers={"Cookie": f"{COOKIE}={held}"}).status_code == 401
    elsewhere = serve(web_users=f"ann:admin:{HASHED}", web_auth="basic")
    assert elsewhere.get(ME, headers={"Cookie": f"{COOKIE}={held}"}).status_code == 401


@pytest.mark.parametrize(
    "following", ["//evil.example", "/\\evil.example", "https://evil.example", "\\\\evil", "/\t/evil", ""]
)
def test_signing_in_leads_to_no_other_site(serve: Serve, following: str) -> None:
    client = serve(web_auth="basic", web_users=f"ann:operator:{HASHED}")
    answer = sign_in(client, name="ann", secret=PASSWORD, next=following)
    assert answer.headers["location"] == "/"


def test_who_is_not_signed_in_is_led_to_the_form_which_shows_hostile_text_as_text(serve: Serve) -> None:
    client = serve(web_auth="basic", web_users=f"ann:operator:{HASHED}")
    answer = client.get("/tasks?where=x", headers={"Accept": "text/html"})
    assert answer.headers["location"] == "/auth/signin?next=%2Ftasks%3Fwhere%3Dx"
    page = client.get("/auth/signin", params={"next": '/"><script>alert(1)</script>'})
    assert "<script" not in page.text and "&lt;script" in page.text


# --- a proxy --------------------------------------------------------------------------------------------------------

PROXY = {
    "web_auth": "proxy",
    "web_proxies": "10.0.0.0/24",
    "web_roles": "ann@shop.example=admin,@ops=operator,*@shop.example=viewer",
}


def test_the_word_of_a_proxy_counts_and_nobody_elses(serve: Serve) -> None:
    proxy = serve("10.0.0.9", **PROXY)
    said = {"X-Forwarded-User": "ann@shop.example"}
    assert proxy.get(ME, headers=said).json()["role"] == "admin"
    assert proxy.get(ME).status_code == 401
    forger: TestClient = serve("10.0.1.9", web=proxy.app)
    assert forger.get(ME, headers=said).status_code == 401


@pytest.mark.parametrize(
    ("user", "groups", "role"),
    [
        ("bob@shop.example", "", "viewer"),
        ("bob@shop.example", "dev, ops", "operator"),
        ("bob@evil.example", "", None),
        ("bob@shop.example.evil", "", None),
        ("@ops", "", None),
    ],
)
def test_a_proxy_names_people_and_groups_and_web_roles_says_what_they_may(
    serve: Serve, user: str, groups: str, role: str | None
) -> None:
    answer = serve("10.0.0.9", **PROXY).get(ME, headers={"X-Forwarded-User": user, "X-Forwarded-Groups": groups})
    assert answer.status_code == (200 if role else 403)
    assert role is None or answer.json()["role"] == role


def test_a_header_that_is_there_twice_is_refused(serve: Serve) -> None:
    twice = [("X-Forwarded-User", "bob@shop.example"), ("X-Forwarded-User", "ann@shop.example")]
    assert serve("10.0.0.9", **PROXY).get(ME, headers=twice).status_code == 400


def test_of_forwarded_addresses_the_last_that_is_no_proxy_counts() -> None:
    def found(peer: str, said: str) -> str:
        headers = [(b"x-forwarded-for", said.encode())]
        return Addresses(["10.0.0.0/24"]).of(HTTPConnection({"type": "http", "client": (peer, 1), "headers": headers}))

    assert found("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2") == "192.0.2.1"
    assert found("192.0.2.9", "6.6.6.6") == "192.0.2.9"


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"web_auth": "magic"}, "not one of"),
        ({"web_auth": "none,token"}, "none and others"),
        ({"web_auth": "token"}, "web_tokens"),
        ({"web_auth": "token", "web_tokens": "bot:admin:secret-in-clear"}, "entry 1 cannot be read"),
        ({"web_auth": "token", "web_tokens": f"bot:root:{hash_token('x')}"}, "entry 1 cannot be read"),
        ({"web_auth": "basic", "web_users": f"ann:admin:{hash_token('x')}"}, "entry 1 cannot be read"),
        ({"web_auth": "proxy"}, "web_proxies"),
        ({"web_auth": "proxy", "web_proxies": "10.0.0.0/99", "web_roles": "*=viewer"}, "web_proxies"),
        ({"web_auth": "proxy", "web_proxies": "10.0.0.1", "web_roles": "ann"}, "who=role"),
        ({"web_auth": "oidc"}, "web_oidc_issuer"),
        ({"web_auth": "basic", "web_users": f"a:admin:{HASHED}", "web_secret": "short"}, "web_secret"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named_and_no_secret_is_told(
    serve: Serve, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        serve(**settings)
    assert "secret-in-clear" not in str(caught.value)


def test_patterns_of_roles_must_match_the_whole_name() -> None:
    table = RoleTable(["ann=admin", "*=viewer"])
    assert table.role_of(["ann"], []) is Role.ADMIN
    assert table.role_of(["annie"], []) is Role.VIEWER
    assert RoleTable(["ann=admin"]).role_of(["xann", "annx"], ["ann"]) is None
