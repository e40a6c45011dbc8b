"""Tokens and passwords as they are kept: hashed, so that who reads the settings cannot use them.

A token is 32 random bytes: nobody guesses it, so one SHA-256 is enough, and cheap for each request. A password may be
poor, so it is hashed by scrypt with a salt, which costs memory and time on purpose (16 MiB, some 50 ms).
Source: OWASP Password Storage Cheat Sheet (scrypt N=2^14 r=8 p=5, or N=2^17 r=8 p=1; we take the former).
"""

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

from taskbus.errors import ConfigError
from taskbus.web.identity import role_named
from taskbus.web.shapes.basis import Role

PREFIX = "tbw_"
"""What every token begins with, so that scanners of repositories find a leaked one."""


class Cost(NamedTuple):
    """What a check takes: ``2 ** rounds * r`` blocks of 128 bytes, ``p`` times; kept with the hash."""

    rounds: int = 14
    r: int = 8
    p: int = 5


USUAL = Cost()
_MOST = Cost(18, 16, 16)
_MEMORY = 1 << 30
_LENGTH = 32


class Entry(NamedTuple):
    """A token or password of somebody, as the settings hold it."""

    name: str
    role: Role
    hash: str

    @property
    def fingerprint(self) -> str:
        """What a cookie remembers of it: it stops to hold when the token or password is changed."""
        return hashlib.sha256(self.hash.encode()).hexdigest()[:16]


def new_token() -> str:
    """A token that nobody had before."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is kept of a token."""
    return "sha256$" + _text(hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest())


def hash_password(password: str, cost: Cost = USUAL) -> str:
    """What is kept of a password: another text each time."""
    salt = secrets.token_bytes(16)
    return f"scrypt${cost.rounds}${cost.r}${cost.p}${_text(salt)}${_text(_scrypt(password, salt, cost))}"


def is_password(password: str, kept: str) -> bool:
    """Whether ``kept`` was made of it. Slow on purpose: never to be called in an event loop."""
    _, rounds, r, p, salt, derived = kept.split("$")
    cost = Cost(int(rounds), int(r), int(p))
    return hmac.compare_digest(_scrypt(password, _bytes(salt), cost), _bytes(derived))


def read_entries(setting: str, texts: tuple[str, ...], kind: str) -> list[Entry]:
    """The entries in a setting, each ``name:role:hash``; ``kind`` is how their hashes begin.

    Raises ``ConfigError``, which names the entry by its place, and never shows what it holds.
    """
    found: dict[str, Entry] = {}
    for place, text in enumerate(texts, 1):
        name, _, rest = text.strip().partition(":")
        role_text, _, kept = rest.partition(":")
        role = role_named(role_text)
        if not name or role is None or not _is_hash(kept, kind):
            raise ConfigError(
                f"setting {setting}: entry {place} cannot be read; each is name:role:hash, with the role viewer, "
                f"operator or admin, and a hash that taskbus web {'token' if kind == 'sha256' else 'password'} prints"
            )
        if name in found:
            raise ConfigError(f"setting {setting}: {name!r} is in it twice; give each entry a name of its own")
        found[name] = Entry(name, role, kept)
    return list(found.values())


def _is_hash(kept: str, kind: str) -> bool:
    name, *parts = kept.split("$")
    try:
        costs = [int(part) for part in parts[:-2]]
        sizes = [len(_bytes(part)) for part in parts[-2:]]
    except ValueError:
        return False
    if kind == "sha256":
        return name == kind and sizes == [_LENGTH]
    is_bearable = len(costs) == 3 and all(0 < cost <= most for cost, most in zip(costs, _MOST, strict=True))
    return name == kind and is_bearable and sizes == [16, _LENGTH]


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    secret = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(
        secret, salt=salt, n=1 << cost.rounds, r=cost.r, p=cost.p, maxmem=_MEMORY, dklen=_LENGTH
    )  # fmt: skip


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
