"""From a URL to a database; a driver is imported only when its scheme is used."""

from importlib import import_module
from typing import cast

from taskbus.database.port import Database
from taskbus.database.sqlite import SqliteDatabase
from taskbus.database.urls import redacted
from taskbus.errors import ConfigError

TIMEOUT = 5.0
SERVERS = {
    "postgresql": ("taskbus.database.postgresql", "postgresql"),
    "postgres": ("taskbus.database.postgresql", "postgresql"),
    "mysql": ("taskbus.database.mysql", "mysql"),
    "mariadb": ("taskbus.database.mysql", "mysql"),
}
"""By scheme: the module, and what pip must install for it."""
DRIVERS = {"postgresql": ("psycopg",), "mysql": ("pymysql",)}
"""Which of SQLAlchemy's driver names (``postgresql+psycopg://``) are ours."""


def scheme_of(url: str) -> str:
    """The scheme of a URL, without the driver SQLAlchemy may have been told of: ``mysql`` of ``mysql+pymysql://``.

    Raises:
        ConfigError: it is no URL, or another driver than TaskBus's own is asked for.
    """
    spelling, separator, _ = url.partition("://")
    if not separator:
        raise ConfigError(f"{redacted(url)!r} is no URL; one looks like sqlite:///file.db")
    scheme, plus, driver = spelling.partition("+")
    if plus and scheme in SERVERS and driver not in DRIVERS[SERVERS[scheme][1]]:
        known = DRIVERS[SERVERS[scheme][1]][0]
        raise ConfigError(f"{scheme}+{driver}:// asks for a driver TaskBus does not use; write {scheme}+{known}://")
    return scheme


def open_database(url: str, timeout: float = TIMEOUT) -> Database:
    """The database at ``url``, the same object for the same URL and timeout. A server is not connected to yet.

    ``timeout``: seconds any one call may take in all.

    Raises:
        ConfigError: the URL cannot be used, or the driver is not installed.
    """
    scheme = scheme_of(url)
    if scheme not in SERVERS:
        return SqliteDatabase.open(url, timeout)
    module, extra = SERVERS[scheme]
    try:
        opener = import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("taskbus"):
            raise
        raise ConfigError(f"{scheme}:// needs {error.name}: pip install 'taskbus[{extra}]'") from None
    return cast(Database, opener.open_url(url, timeout))
