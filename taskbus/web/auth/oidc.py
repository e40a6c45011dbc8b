"""Signing in at an OpenID provider: code flow with PKCE, state and nonce, all of it Authlib's.

Of what the provider says, names count only where they cannot be chosen: the subject, and an address that it has
verified. The token is used once, to read who it is, and not kept.
"""

from collections.abc import Sequence
from http import HTTPStatus
from importlib import import_module
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taskbus.errors import ConfigError
from taskbus.web.auth.mapping import RoleTable
from taskbus.web.auth.schemes import no_role
from taskbus.web.identity import User
from taskbus.web.refusal import Refusal

WELL_KNOWN = "/.well-known/openid-configuration"
SCOPE = "openid email profile"
TIMEOUT = 10.0


class Provider:
    """One provider, of which this server is a client.

    Raises ``ConfigError`` if Authlib is not installed, or the settings do not name a provider.
    """

    def __init__(self, issuer: str, client_id: str, client_secret: str, roles: RoleTable, groups_claim: str) -> None:
        if not issuer or not client_id:
            raise ConfigError("web_auth oidc needs web_oidc_issuer and web_oidc_client_id")
        if not roles:
            raise ConfigError("web_auth oidc needs web_roles: without them nobody it names may do anything")
        try:
            starlette_client = import_module("authlib.integrations.starlette_client")
        except ModuleNotFoundError as error:
            raise ConfigError(f"web_auth oidc needs {error.name}: pip install 'taskbus[oidc]'") from None
        self.issuer = issuer.rstrip("/")
        self._roles, self._groups_claim = roles, groups_claim
        self._refused: tuple[type[Exception], ...] = (
            starlette_client.OAuthError,
            import_module("joserfc.errors").JoseError,
            import_module("authlib.integrations.httpx_client._compat").httpx2.HTTPError,
        )
        self._client: Any = starlette_client.OAuth().register(
            "provider",
            server_metadata_url=self.issuer + WELL_KNOWN,
            client_id=client_id,
            client_secret=client_secret or None,
            client_kwargs={
                "scope": SCOPE,
                "code_challenge_method": "S256",
                "timeout": TIMEOUT,
                **({} if client_secret else {"token_endpoint_auth_method": "none"}),
            },
        )

    async def send_away(self, request: Request, callback: str) -> Response:
        """Send somebody to the provider, who sends him back to the URL ``callback``."""
        try:
            response: Response = await self._client.authorize_redirect(request, callback)
        except self._refused as error:
            raise self._failed(HTTPStatus.BAD_GATEWAY, error) from error
        return response

    async def welcome(self, request: Request) -> User:
        """Who came back. Raises ``Refusal`` for a code, a state or a token that is not right, or without a role."""
        try:
            token = await self._client.authorize_access_token(request)
        except self._refused as error:
            raise self._failed(HTTPStatus.UNAUTHORIZED, error) from error
        claims = token.get("userinfo") or {}
        names = names_of(claims)
        if not names:
            raise Refusal(HTTPStatus.UNAUTHORIZED, f"{self.issuer} does not say who this is")
        role = self._roles.role_of(names, _texts(claims.get(self._groups_claim)))
        if role is None:
            raise no_role(names[0])
        return User(names[0], role, "oidc")

    def _failed(self, status: HTTPStatus, error: Exception) -> Refusal:
        """Without what the error says, which may hold codes and tokens; its name tells what went wrong."""
        what = getattr(error, "error", None) or type(error).__name__
        return Refusal(status, f"signing in at {self.issuer} failed: {what}", "try again; see web_oidc_issuer")


def names_of(claims: dict[str, Any]) -> list[str]:
    """By what somebody goes: his address, if it is verified, and his subject."""
    email = claims.get("email")
    is_verified = claims.get("email_verified") in (True, "true")
    found = [email.lower()] if isinstance(email, str) and email and is_verified else []
    subject = claims.get("sub")
    return [*found, subject] if isinstance(subject, str) and subject else []


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
