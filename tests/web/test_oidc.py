"""Signing in at an OpenID provider: a real one in another thread, the code flow with PKCE, and what must not work."""

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.web.server import web_app
from tests.web.conftest import running

KEY = RSAKey.generate_key(2048, {"kid": "1"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "1"})


class Provider:
    """Signs in everybody as ``claims`` say, and checks PKCE."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.claims: dict[str, Any] = {"sub": "u-1", "email": "Ann@shop.example", "email_verified": True}
        self.key = KEY
        self.codes: dict[str, dict[str, str]] = {}
        self.changed: dict[str, Any] = {}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.configuration),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
            ]
        )

    async def configuration(self, request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def authorize(self, request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")

    async def token(self, request: Request) -> JSONResponse:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": asked["client_id"], "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        token = jwt.encode({"alg": "RS256", "kid": "1"}, {**claims, **self.claims, **self.changed}, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token})

    async def keys(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [json.loads(json.dumps(KEY.as_dict(private=False)))]})


@pytest.fixture(scope="module")
def serving() -> Iterator[Provider]:
    listening = socket.create_server(("127.0.0.1", 0))
    provider = Provider(listening.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(provider.app(), log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield provider
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture
def provider(serving: Provider) -> Provider:
    serving.__init__(int(serving.issuer.rpartition(":")[2]))  # type: ignore[misc]
    return serving


@pytest.fixture
def client(provider: Provider, tmp_path: Path) -> Iterator[TestClient]:
    with TaskBus(
        "tests",
        broker=f"sqlite:///{tmp_path}/app.db",
        web_auth="oidc",
        web_oidc_issuer=provider.issuer,
        web_oidc_client_id="taskbus",
        web_roles="ann@shop.example=admin,@ops=operator,u-7=viewer",
    ) as app:
        held = running(web_app(app))
        yield TestClient(next(held), base_url="http://localhost", follow_redirects=False)
        held.close()  # type: ignore[attr-defined]


def there(client: TestClient, provider: Provider) -> str:
    """The URL with which the provider sends somebody back, for a sign-in that this client began."""
    import httpx2

    away = client.get("/auth/oidc", params={"next": "/queues"})
    assert away.status_code == 302 and away.headers["location"].startswith(f"{provider.issuer}/authorize?")
    back = httpx2.get(away.headers["location"], follow_redirects=False).headers["location"]
    assert back.startswith("http://localhost/auth/callback?")
    return str(back.removeprefix("http://localhost"))


def test_whom_the_provider_names_is_let_in_with_his_role(client: TestClient, provider: Provider) -> None:
    came = client.get(there(client, provider))
    assert (came.status_code, came.headers["location"]) == (303, "/queues")
    found = client.get("/api/v1/me").json()
    assert (found["user"], found["role"], found["auth"]) == ("ann@shop.example", "admin", "oidc")
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"sub": "u-7"}, "viewer"),
        ({"sub": "u-8", "groups": ["dev", "ops"]}, "operator"),
        ({"sub": "u-9", "email": "ann@shop.example"}, None),
        ({"sub": "u-9", "email": "ann@shop.example", "email_verified": False}, None),
        ({"sub": "u-9", "preferred_username": "ann@shop.example", "name": "ann@shop.example"}, None),
        ({"sub": "u-9", "groups": "operator"}, None),
    ],
)
def test_only_what_nobody_can_choose_for_himself_gives_a_role(
    client: TestClient, provider: Provider, claims: dict[str, Any], role: str | None
) -> None:
    provider.claims = claims
    came = client.get(there(client, provider))
    assert came.status_code == (303 if role else 403)
    answer = client.get("/api/v1/me")
    assert answer.status_code == (200 if role else 401)
    assert role is None or answer.json()["role"] == role


@pytest.mark.parametrize("change", ["state", "code", "browser", "key", "nonce", "audience", "expired", "issuer"])
def test_an_answer_that_is_not_to_our_question_lets_nobody_in(
    client: TestClient, provider: Provider, change: str
) -> None:
    back = there(client, provider)
    match change:
        case "state":
            back = back.replace("state=", "state=x")
        case "code":
            back = back.replace("code=", "code=x")
        case "browser":
            client.cookies.clear()
        case "key":
            provider.key = OTHER_KEY
        case "nonce":
            provider.changed = {"nonce": "another"}
        case "audience":
            provider.changed = {"aud": "somebody-else"}
        case "expired":
            provider.changed = {"iat": 1, "exp": 2}
        case _:
            provider.changed = {"iss": "https://evil.example"}
    came = client.get(back)
    assert came.status_code == 401, came.text
    assert "taskbus_session" not in came.headers.get("set-cookie", "")
    assert client.get("/api/v1/me").status_code == 401


def test_a_code_is_good_for_one_sign_in(client: TestClient, provider: Provider) -> None:
    back = there(client, provider)
    assert client.get(back).status_code == 303
    client.cookies.clear()
    assert client.get(back).status_code == 401


def test_a_provider_that_is_away_is_told_of(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with TaskBus(
        "tests", broker=f"sqlite:///{tmp_path}/a.db", web_auth="oidc", web_oidc_issuer=f"http://127.0.0.1:{port}",
        web_oidc_client_id="taskbus", web_roles="*=viewer",
    ) as app:  # fmt: skip
        held = running(web_app(app))
        client = TestClient(next(held), base_url="http://localhost", follow_redirects=False)
        answer = client.get("/auth/oidc")
        assert answer.status_code == 502
        assert "failed" in answer.json()["error"]
        held.close()  # type: ignore[attr-defined]


def test_signing_in_shows_the_way_to_the_provider(client: TestClient, provider: Provider) -> None:
    shown = client.get("/auth/signin", params={"next": "/tasks"})
    assert urlsplit(provider.issuer).netloc in shown.text
    assert 'href="/auth/oidc?next=%2Ftasks"' in shown.text
