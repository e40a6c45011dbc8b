"""Where a Redis is: what its URL says, checked, with the advice a wrong one needs. Connects to nothing.

::

    redis://[[user]:password@]host[:port][/db]                        one server (rediss:// for TLS)
    sentinel://[[user]:password@]host[:port],host[:port]/service[/db] the primary that Sentinels name (sentinels://)
    redis+cluster://[[user]:password@]host[:port],host[:port]         a Redis Cluster (rediss+cluster://)

Options: ``prefix`` (of every key and channel; default "taskbus"), for TLS ``ca_file``, ``cert_file`` and ``key_file``,
for Sentinels that want a password of their own ``sentinel_user`` and ``sentinel_password``.
"""

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from taskbus.database.tls import check_key
from taskbus.database.urls import quotable, redacted, refuse_stray_at
from taskbus.errors import ConfigError

PREFIX = "taskbus"
"""What every key begins with unless the URL says otherwise."""
ONE, SENTINEL, CLUSTER = "one", "sentinel", "cluster"
SCHEMES = {
    "redis": (ONE, False),
    "rediss": (ONE, True),
    "sentinel": (SENTINEL, False),
    "sentinels": (SENTINEL, True),
    "redis+cluster": (CLUSTER, False),
    "rediss+cluster": (CLUSTER, True),
}
OPTIONS = ("prefix", "ca_file", "cert_file", "key_file", "sentinel_user", "sentinel_password")


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """A URL, read. ``shown`` is the URL as it may be shown; the secrets are in no repr."""

    kind: str
    addresses: tuple[Address, ...]
    is_tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    service: str = ""
    options: dict[str, str] = field(default_factory=dict, repr=False, compare=False, hash=False)
    shown: str = field(default="", compare=False)

    @property
    def prefix(self) -> str:
        return self.options.get("prefix") or PREFIX

    @property
    def way_with_tls(self) -> str:
        """The scheme that speaks TLS, where this one does not."""
        return "" if self.is_tls else _with_tls(self.kind)

    @property
    def identity(self) -> str:
        """Names the data: equal for URLs of the same server, database, user and prefix. "" for a cluster."""
        if self.kind == CLUSTER:
            return ""
        where = ",".join(sorted(str(address) for address in self.addresses))
        service = f"/{self.service}" if self.service else ""
        return f"{self.kind}://{self.user}@{where}{service}/{self.db}?prefix={self.prefix}"


def locate(url: str) -> RedisPlace:
    """Read a URL.

    Raises:
        ConfigError: it cannot be one of a Redis.
    """
    scheme, separator, rest = url.partition("://")
    shown = redacted(url)
    if not separator or scheme not in SCHEMES:
        raise ConfigError(f"{shown!r} is no Redis; write {', '.join(f'{name}://' for name in SCHEMES)}host:port/0")
    kind, is_tls = SCHEMES[scheme]
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    userinfo, _, where = place.rpartition("@")
    refuse_stray_at(url, userinfo, "", query)
    if unknown := sorted(options.keys() - set(OPTIONS)):
        names = ", ".join(quotable(name, url) for name in unknown)
        raise ConfigError(f"{shown!r}: unknown option {names}; there are {', '.join(OPTIONS)}")
    if not is_tls and (of_tls := sorted({"ca_file", "cert_file", "key_file"} & options.keys())):
        raise ConfigError(f"{shown!r}: {', '.join(of_tls)} needs TLS; write {_with_tls(kind)}://")
    check_key(options, "cert_file", "key_file")
    user, _, password = userinfo.partition(":")
    hosts, _, path = where.partition("/")
    service, db = _path(kind, path, url)
    port = 26379 if kind == SENTINEL else 6379
    addresses = tuple(_address(host, port, url) for host in hosts.split(","))
    if kind == ONE and len(addresses) > 1:
        raise ConfigError(f"{shown!r} names several servers; write sentinel:// or redis+cluster:// for those")
    return RedisPlace(kind, addresses, is_tls, unquote(user), unquote(password), db, service, options, shown)


def _with_tls(kind: str) -> str:
    return next(name for name, known in SCHEMES.items() if known == (kind, True))


def _path(kind: str, path: str, url: str) -> tuple[str, int]:
    service, shown = "", redacted(url)
    if kind == SENTINEL:
        service, _, path = path.partition("/")
        if not service or service.isdigit():
            raise ConfigError(f"{shown!r} names no service; write sentinel://host:26379/mymaster/0")
    if path and not (path.isascii() and path.isdigit()):
        raise ConfigError(f"{shown!r}: the database must be a number, not {quotable(path, url)!r}")
    if kind == CLUSTER and int(path or 0):
        raise ConfigError(f"{shown!r}: a Redis Cluster has database 0 only; use ?prefix= to keep applications apart")
    return unquote(service), int(path or 0)


def _address(text: str, default: int, url: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    host = unquote(host).strip("[]") or "localhost"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{redacted(url)!r}: {quotable(port, url)!r} is no port; a password is followed by @host")
    return Address(host.lower(), int(port))
