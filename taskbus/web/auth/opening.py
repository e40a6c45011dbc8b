"""From settings to a door: which ways of signing in there are, and what each of them needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.routing import BaseRoute

from taskbus.clock import Clock
from taskbus.config import Config
from taskbus.errors import ConfigError
from taskbus.web.auth.address import Addresses, is_loopback, peer
from taskbus.web.auth.doorkeeper import Door, Doorkeeper, Open, SideDoor
from taskbus.web.auth.failures import Failures
from taskbus.web.auth.hashing import Entry, read_entries
from taskbus.web.auth.mapping import RoleTable
from taskbus.web.auth.oidc import Provider
from taskbus.web.auth.schemes import Passwords, Proxied, Scheme, Tokens
from taskbus.web.auth.session import Sessions
from taskbus.web.auth.signing_in import SigningIn
from taskbus.web.shapes.basis import AuthName
from taskbus.web.threads import Threads

KINDS = ("none", "token", "basic", "oidc", "proxy")


@dataclass(frozen=True, slots=True)
class Opened:
    """A door, the pages on which one signs in, and the key that signs cookies ("" if none are made)."""

    door: Door
    routes: list[BaseRoute]
    key: str
    is_secure: bool


def kinds_of(config: Config) -> tuple[str, ...]:
    """The ways of signing in that are set, without ``none``. Raises ``ConfigError`` for one that there is not."""
    for kind in config.web_auth:
        if kind not in KINDS:
            raise ConfigError(f"web_auth={kind!r} is not one of {', '.join(KINDS)}")
    kinds = tuple(kind for kind in dict.fromkeys(config.web_auth) if kind != "none")
    if kinds and "none" in config.web_auth:
        raise ConfigError("web_auth holds none and others; none means that everybody may do everything")
    return kinds


def open_door(config: Config, clock: Clock, threads: Threads, *, is_insecure: bool = False) -> Opened:
    """The door that the settings describe. ``is_insecure``: without auth, also those of other machines are served.

    Raises ``ConfigError`` that names the setting which is missing or wrong.
    """
    kinds = kinds_of(config)
    addresses = Addresses(config.web_proxies)
    is_secure = urlsplit(config.web_url).scheme == "https"
    if not kinds:
        door = Open(addresses, beyond_this_machine=lambda request: not is_insecure and not is_loopback(peer(request)))
        return Opened(door, [], "", is_secure)
    roles = RoleTable(config.web_roles)
    schemes: dict[AuthName, Scheme] = {}
    entries: dict[AuthName, Mapping[str, Entry]] = {}
    if "token" in kinds:
        schemes["token"] = tokens = Tokens(_needed("token", "web_tokens", config.web_tokens, "sha256"))
        entries["token"] = tokens.entries
    if "basic" in kinds:
        schemes["basic"] = passwords = Passwords(_needed("basic", "web_users", config.web_users, "scrypt"), threads)
        entries["basic"] = passwords.entries
    if "proxy" in kinds:
        if not config.web_proxies or not roles:
            raise ConfigError("web_auth proxy needs web_proxies (whose word counts) and web_roles (who may do what)")
        schemes["proxy"] = Proxied(addresses, roles, config.web_proxy_user, config.web_proxy_groups)
    provider = _provider(config, roles) if "oidc" in kinds else None
    sessions = Sessions(config.web_secret, entries, is_secure=is_secure)
    keeper = Doorkeeper(schemes, addresses, Failures(clock), sessions)
    return Opened(keeper, SigningIn(keeper, provider, config.web_url).routes(), sessions.key, is_secure)


def metrics_keeper(config: Config, door: Door, clock: Clock) -> Door:
    """The door of ``/metrics``: ``door``, and for whoever shows a token of ``web_metrics_tokens``, that alone.

    Raises ``ConfigError`` for an entry that is none.
    """
    entries = read_entries("web_metrics_tokens", config.web_metrics_tokens, "sha256")
    return SideDoor(Tokens(entries), door, Failures(clock)) if entries else door


def _needed(kind: str, setting: str, texts: tuple[str, ...], hashed: str) -> list[Entry]:
    entries = read_entries(setting, texts, hashed)
    if not entries:
        word = "token" if kind == "token" else "password"
        raise ConfigError(f"web_auth {kind} needs {setting}; taskbus web {word} NAME --role ROLE makes an entry")
    return entries


def _provider(config: Config, roles: RoleTable) -> Provider:
    return Provider(
        config.web_oidc_issuer, config.web_oidc_client_id, config.web_oidc_client_secret, roles, config.web_oidc_groups
    )
