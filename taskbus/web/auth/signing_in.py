"""The place to sign in with a browser: a form for a token or a password, a way to the OpenID provider, the way out."""

from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from taskbus.web.auth.doorkeeper import Doorkeeper, must_be_own
from taskbus.web.auth.oidc import Provider
from taskbus.web.auth.schemes import Passwords, Tokens
from taskbus.web.identity import User
from taskbus.web.refusal import Refusal

MAX_FORM = 8192
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Sign in - TaskBus</title></head>
<body><main><h1>TaskBus</h1>{said}{ways}</main></body></html>
"""
_FORM = """<form method="post" action="{action}"><input type="hidden" name="next" value="{next}">
{fields}<p><button type="submit">Sign in</button></p></form>"""
_NAME = '<p><label>Name <input name="name" autocomplete="username" autofocus></label></p>'
_HIDDEN = '<p><label>{label} <input name="secret" type="password" autocomplete="current-password"></label></p>'


class SigningIn:
    """Pages below ``auth``. They need no scripts, and nobody's word."""

    def __init__(self, door: Doorkeeper, provider: Provider | None, own_url: str) -> None:
        self._door, self._provider, self._own_url = door, provider, own_url.rstrip("/")

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        found: list[BaseRoute] = [
            Route("/auth/signin", self.show, methods=["GET"]),
            Route("/auth/signin", self.sign_in, methods=["POST"]),
            Route("/auth/signout", self.sign_out, methods=["POST"]),
        ]
        if self._provider is not None:
            found.append(Route("/auth/oidc", self.go, methods=["GET"]))
            found.append(Route("/auth/callback", self.come_back, methods=["GET"]))
        return found

    async def show(self, request: Request) -> Response:
        """The form, and the way to the provider."""
        return self._page(request, _safe_next(request.query_params.get("next", "")))

    async def sign_in(self, request: Request) -> Response:
        """Take the form; what is wrong is counted by address."""
        must_be_own(request, self._own_url)
        address = self._door.address(request)
        self._door.failures.check(address)
        form = await _form(request)
        following = _safe_next(form.get("next", ""))
        user, fingerprint = await self._find(form.get("name", ""), form.get("secret", ""))
        if user is None:
            self._door.failed(address)
            return self._page(request, following, said="That is not valid here.", status=HTTPStatus.UNAUTHORIZED)
        response = RedirectResponse(_base(request) + following, HTTPStatus.SEE_OTHER)
        self._door.sessions.begin(request, response, user, fingerprint)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Take the cookie away."""
        must_be_own(request, self._own_url)
        response = RedirectResponse(_base(request) + "/auth/signin", HTTPStatus.SEE_OTHER)
        self._door.sessions.end(request, response)
        return response

    async def go(self, request: Request) -> Response:
        """To the provider."""
        assert self._provider is not None
        request.session["next"] = _safe_next(request.query_params.get("next", ""))
        here = self._own_url or str(request.base_url).rstrip("/")
        return await self._provider.send_away(request, f"{here}/auth/callback")

    async def come_back(self, request: Request) -> Response:
        """From the provider."""
        assert self._provider is not None
        address = self._door.address(request)
        self._door.failures.check(address)
        try:
            user = await self._provider.welcome(request)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                self._door.failed(address)
            raise
        response = RedirectResponse(_base(request) + _safe_next(request.session.pop("next", "")), HTTPStatus.SEE_OTHER)
        self._door.sessions.begin(request, response, user)
        return response

    async def _find(self, name: str, secret: str) -> tuple[User | None, str]:
        """Whose token or password that is, with its fingerprint."""
        tokens, passwords = self._door.schemes.get("token"), self._door.schemes.get("basic")
        if isinstance(tokens, Tokens) and (entry := tokens.entry_of(secret)):
            return User(entry.name, entry.role, "token"), entry.fingerprint
        if isinstance(passwords, Passwords) and (entry := await passwords.entry_of(name, secret)):
            return User(entry.name, entry.role, "basic"), entry.fingerprint
        return None, ""

    def _page(self, request: Request, following: str, said: str = "", status: int = HTTPStatus.OK) -> Response:
        base, ways = _base(request), ""
        if {"token", "basic"} & set(self._door.schemes):
            label = " or ".join(
                word for kind, word in (("basic", "password"), ("token", "token")) if kind in self._door.schemes
            )
            fields = (_NAME if "basic" in self._door.schemes else "") + _HIDDEN.format(label=label.capitalize())
            ways += _FORM.format(action=escape(f"{base}/auth/signin"), next=escape(following), fields=fields)
        if self._provider is not None:
            host = urlsplit(self._provider.issuer).netloc
            link = f"{base}/auth/oidc?next={quote(following, safe='')}"
            ways += f'<p><a href="{escape(link)}">Sign in with {escape(host)}</a></p>'
        text = f'<p role="alert">{escape(said)}</p>' if said else ""
        page = _PAGE.format(said=text, ways=ways or "<p>The proxy in front of this server must say who asks.</p>")
        return HTMLResponse(page, status, {"Cache-Control": "no-store"})


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _safe_next(given: str) -> str:
    """A path of this page, never of another one: ``//elsewhere`` and ``/\\elsewhere`` are such to a browser."""
    is_ours = given.startswith("/") and given[1:2] not in ("/", "\\") and given.isprintable() and "\\" not in given
    return given if is_ours else "/"


async def _form(request: Request) -> dict[str, str]:
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_FORM:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too large")
    fields = parse_qs(read.decode("utf-8", "replace"), max_num_fields=8)
    return {name: values[0] for name, values in fields.items()}
