"""The cookie of those who signed in on the page: who they are, signed, for some hours."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from taskbus.errors import ConfigError
from taskbus.web.auth.hashing import Entry
from taskbus.web.identity import User, role_named
from taskbus.web.shapes.basis import AuthName

COOKIE = "taskbus_session"
KEPT_FOR = 12 * 3600
"""Seconds after which one signs in again."""
LEAST_SECRET = 32


class Sessions:
    """Makes the cookie, and reads it. ``entries`` are those of tokens and passwords, by kind and name.

    A session of a token or a password ends when that is changed or taken away, and has the role that it has now.
    """

    def __init__(self, secret: str, entries: Mapping[AuthName, Mapping[str, Entry]], *, is_secure: bool) -> None:
        if secret and len(secret) < LEAST_SECRET:
            raise ConfigError(f"setting web_secret is too short; take {LEAST_SECRET} characters or more, at random")
        self.key = secret or secrets.token_urlsafe(32)
        self._signer = URLSafeTimedSerializer(self.key, salt="taskbus.web.session")
        self._entries = entries
        self._is_secure = is_secure

    def user_of(self, request: Request) -> User | None:
        """Who signed in, None if nobody did, or it no longer holds."""
        try:
            said = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=KEPT_FOR)
            name, auth, role_text, fingerprint = said
        except (BadSignature, TypeError, ValueError):
            return None
        if auth in self._entries:
            entry = self._entries[auth].get(name)
            return User(name, entry.role, auth) if entry is not None and entry.fingerprint == fingerprint else None
        role = role_named(role_text)
        return User(name, role, auth) if auth == "oidc" and role is not None else None

    def begin(self, request: Request, response: Response, user: User, fingerprint: str = "") -> None:
        """Let the answer set the cookie."""
        said: Sequence[Any] = (user.name, user.auth, user.role_name, fingerprint)
        response.set_cookie(COOKIE, self._signer.dumps(said), max_age=KEPT_FOR, **self._where(request))

    def end(self, request: Request, response: Response) -> None:
        """Let the answer take the cookie away."""
        response.delete_cookie(COOKIE, **self._where(request))

    def _where(self, request: Request) -> Any:
        is_secure = self._is_secure or request.url.scheme == "https"
        path = request.scope.get("root_path") or "/"
        return {"path": path, "httponly": True, "samesite": "lax", "secure": is_secure}
