"""Where a database on a server is: its URL taken apart. Knows no driver."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from taskbus.database.urls import quotable, redacted, refuse_stray_at
from taskbus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """A database on a server, and who asks for it.

    ``hosts``: ``(name, port)`` of each, to be tried in turn; a name that starts with ``/`` is a socket's path.
    ``options`` are the driver's own, as (name, text) pairs.
    """

    dialect: str
    hosts: tuple[tuple[str, int], ...]
    database: str
    schema: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def identity(self) -> str:
        """Names the tables, whoever connects to them."""
        schema = f"?schema={self.schema}" if self.schema else ""
        return f"{self.dialect}://{self._hosts()}/{self.database}{schema}"

    @property
    def words(self) -> str:
        """For people: what it is, and where."""
        return f"{_NAMES[self.dialect]} database {self.database!r} at {self._hosts()}"

    def _hosts(self) -> str:
        return ",".join(name if name.startswith("/") else f"{name}:{port}" for name, port in self.hosts)


_NAMES = {"postgresql": "PostgreSQL", "mysql": "MySQL"}


def parse(url: str, dialect: str, port: int) -> Place:
    """Take ``scheme://user:password@host:port/database?option=text`` apart; ``port`` is the one used without.

    Several hosts are separated by commas. Raises ``ConfigError`` when it names no database, or a port is no number.
    """
    scheme, _, rest = url.partition("://")
    authority, _, tail = rest.partition("/")
    path, _, query = tail.partition("?")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    refuse_stray_at(url, userinfo, path, query)
    if not path:
        raise ConfigError(f"{redacted(url)!r} names no database; write {scheme}://user:password@host:{port}/database")
    options = dict(parse_qsl(query, keep_blank_values=True))
    names = options.pop("host", "") or hosts or "localhost"
    try:
        places = tuple(_host(name, port) for name in names.split(","))
    except ValueError:
        raise ConfigError(f"{redacted(url)!r}: a port is a number, as in {scheme}://host:{port}/database") from None
    return Place(
        dialect=dialect,
        hosts=places,
        database=unquote(path),
        schema=options.pop("schema", ""),
        user=unquote(user) or options.pop("user", ""),
        password=unquote(password) or options.pop("password", ""),
        options=tuple(sorted(options.items())),
    )


def _host(text: str, port: int) -> tuple[str, int]:
    if text.startswith("/"):
        return text, port
    name, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, number = text, ""
    return unquote(name).strip("[]").lower() or "localhost", int(number or port)


def check_options(url: str, options: Mapping[str, str], known: Collection[str]) -> None:
    """Raise ``ConfigError`` with a near match for an option that the driver does not know."""
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigError(f"{redacted(url)!r}: unknown option {quotable(name, url)}; {advice}")
