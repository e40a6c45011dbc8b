"""Who asks, by whichever way this server knows; and whether a change comes from the page itself."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

from starlette.requests import Request

from taskbus.web.auth.address import Addresses
from taskbus.web.auth.failures import Failures
from taskbus.web.auth.schemes import BadCredentials, Scheme, Tokens
from taskbus.web.auth.session import Sessions
from taskbus.web.identity import User
from taskbus.web.refusal import Refusal
from taskbus.web.shapes.basis import AuthName, Role

log = logging.getLogger(__name__)


class Door(Protocol):
    """What the server asks of whoever keeps its door."""

    async def who(self, request: Request) -> User:
        """Who asks. Raises ``Refusal``: 401 if nobody says who he is, 403 or 429."""

    def address(self, request: Request) -> str:
        """Where he is."""


class Doorkeeper:
    """Asks one scheme after the other, and the cookie before them. What is wrong is counted, by address."""

    def __init__(
        self,
        schemes: Mapping[AuthName, Scheme],
        addresses: Addresses,
        failures: Failures,
        sessions: Sessions,
    ) -> None:
        self.schemes, self.addresses, self.failures, self.sessions = schemes, addresses, failures, sessions

    def address(self, request: Request) -> str:
        return self.addresses.of(request)

    async def who(self, request: Request) -> User:
        address = self.address(request)
        if "authorization" in request.headers:
            self.failures.check(address)
        for scheme in self.schemes.values():
            try:
                user = await scheme.identify(request)
            except BadCredentials:
                self.failed(address)
                raise self._unknown(request, "that token or password is not valid here") from None
            if user is not None:
                return user
        user = self.sessions.user_of(request)
        if user is None:
            raise self._unknown(request, "this server must know who asks")
        return user

    def failed(self, address: str) -> None:
        """Count a failure to sign in, and say so to whoever runs the server."""
        self.failures.add(address)
        log.warning("signing in failed from %s", address or "this machine")

    def _unknown(self, request: Request, text: str) -> Refusal:
        """A browser's own dialog would only be in the way of the page, which has a place to sign in."""
        challenges = [scheme.challenge for scheme in self.schemes.values() if scheme.challenge]
        is_browser = "sec-fetch-mode" in request.headers
        headers = {"WWW-Authenticate": ", ".join(challenges)} if challenges and not is_browser else {}
        advice = "sign in, or send Authorization: Bearer TOKEN"
        return Refusal(HTTPStatus.UNAUTHORIZED, text, advice, headers=headers)


class Open:
    """Nobody is asked who he is: everybody who can reach this server may do everything."""

    def __init__(self, addresses: Addresses, *, beyond_this_machine: Callable[[Request], bool]) -> None:
        self._addresses = addresses
        self._refuses = beyond_this_machine

    def address(self, request: Request) -> str:
        return self._addresses.of(request)

    async def who(self, request: Request) -> User:
        if self._refuses(request):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "this server asks nobody who he is, and so serves its own machine alone",
                "set up auth (--auth token), or look at it there",
            )
        return User("local", Role.ADMIN, "none")


class Hosted:
    """The application around this one knows who asks: ``identify`` says so, None if it does not know him."""

    def __init__(self, addresses: Addresses, identify: Callable[[Request], Awaitable[User | None]]) -> None:
        self._addresses, self._identify = addresses, identify

    def address(self, request: Request) -> str:
        return self._addresses.of(request)

    async def who(self, request: Request) -> User:
        user = await self._identify(request)
        if user is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "this server must know who asks", "sign in")
        return user


class SideDoor:
    """For one place: whoever shows one of these tokens is let in; all others go to the door of the house.

    A wrong token is one for the house, which has tokens of its own; without any, it is counted here.
    """

    def __init__(self, tokens: Tokens, house: Door, failures: Failures) -> None:
        self._tokens, self._house, self._failures = tokens, house, failures

    def address(self, request: Request) -> str:
        return self._house.address(request)

    async def who(self, request: Request) -> User:
        address = self.address(request)
        if "authorization" in request.headers:
            self._failures.check(address)
        try:
            user = await self._tokens.identify(request)
        except BadCredentials:
            user = None
        if user is not None:
            return user
        try:
            return await self._house.who(request)
        except Refusal as refusal:
            if "authorization" in request.headers and refusal.status == HTTPStatus.UNAUTHORIZED:
                self._failures.add(address)
            raise


def must_be_own(request: Request, own_url: str) -> None:
    """Raise ``Refusal`` for a change that another site's page makes a browser ask for.

    Browsers say where a request comes from; who is no browser says nothing, and brings his own credentials.
    Source: OWASP, Cross-Site Request Forgery Prevention, "Fetch Metadata headers" with "Origin" where they are absent.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        ours = {request.headers.get("host"), _host(own_url)} - {None}
        is_own = origin is None or _host(origin) in ours
    if not is_own:
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"this request comes from another site ({origin or site})",
            "changes are made from this server's own page, or by a program; behind a proxy set web_url",
        )


def _host(url: str) -> str | None:
    return urlsplit(url).netloc or None
