"""The ways of showing who one is with each request: a token, a password, the word of a proxy."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

from starlette.requests import Request

from taskbus.web.auth.address import Addresses, single
from taskbus.web.auth.hashing import Entry, hash_token, is_password
from taskbus.web.auth.mapping import RoleTable
from taskbus.web.identity import User
from taskbus.web.refusal import Refusal
from taskbus.web.threads import Threads

REMEMBERED = 256
"""Passwords whose check is remembered, so that not every request costs one."""


class BadCredentials(Exception):
    """Something was shown, and it is wrong."""


class Scheme(Protocol):
    """One way. ``challenge`` is what it says in ``WWW-Authenticate``, "" if nothing."""

    challenge: str

    async def identify(self, request: Request) -> User | None:
        """Who asks; None if the request shows nothing of this kind. Raises ``BadCredentials`` or ``Refusal``."""


class Tokens:
    """``Authorization: Bearer tbw_...``"""

    challenge = "Bearer"

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = {entry.name: entry for entry in entries}

    async def identify(self, request: Request) -> User | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        entry = self.entry_of(token.strip())
        if entry is None:
            raise BadCredentials
        return User(entry.name, entry.role, "token")

    def entry_of(self, token: str) -> Entry | None:
        """Whose token that is; each is compared in a time that tells nothing."""
        hashed = hash_token(token)
        fitting = [entry for entry in self.entries.values() if hmac.compare_digest(entry.hash, hashed)]
        return fitting[0] if fitting else None


class Passwords:
    """``Authorization: Basic ...``; checked in a thread, as a check is slow on purpose."""

    challenge = 'Basic realm="TaskBus", charset="UTF-8"'

    def __init__(self, entries: Sequence[Entry], threads: Threads) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self._threads = threads
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()

    async def identify(self, request: Request) -> User | None:
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise BadCredentials from None
        entry = await self.entry_of(name, password) if colon else None
        if entry is None:
            raise BadCredentials
        return User(entry.name, entry.role, "basic")

    async def entry_of(self, name: str, password: str) -> Entry | None:
        """Whose password that is; a name that is not there takes as long as one that is."""
        entry = self.entries.get(name)
        kept = entry.hash if entry is not None else next(iter(self.entries.values())).hash
        digest = hmac.digest(self._key, f"{name}\0{kept}\0{password}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        if digest not in self._right:
            if not await self._threads.run(lambda: is_password(password, kept)) or entry is None:
                return None
            self._right[digest] = None
            while len(self._right) > REMEMBERED:
                self._right.popitem(last=False)
        return entry


class Proxied:
    """A header that a trusted proxy sets, who has asked already; from any other address it means nothing."""

    challenge = ""

    def __init__(self, addresses: Addresses, roles: RoleTable, user_header: str, groups_header: str) -> None:
        self._addresses, self._roles = addresses, roles
        self._user, self._groups = user_header, groups_header

    async def identify(self, request: Request) -> User | None:
        if not self._addresses.came_through_proxy(request):
            return None
        name = single(request, self._user)
        if not name:
            return None
        groups = [group.strip() for group in single(request, self._groups).split(",") if group.strip()]
        role = self._roles.role_of([name], groups)
        if role is None:
            raise no_role(name)
        return User(name, role, "proxy")


def no_role(name: str) -> Refusal:
    """Somebody is known, and nothing says what he may do."""
    return Refusal(
        HTTPStatus.FORBIDDEN, f"{name!r} has no role here", "ask whoever runs this server to add one to web_roles"
    )
