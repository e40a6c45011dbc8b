"""How many bytes broker and results were made to write, by their own account: for ``taskbus bench --mode workflow``.

Servers count for all their clients alike, so that nobody else should use them meanwhile.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple

from taskbus.database.opening import open_database, scheme_of

_SQL = {
    "postgresql": ("SELECT pg_current_wal_lsn() - '0/0'", "bytes of write-ahead log in PostgreSQL"),
    "mysql": ("SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'", "bytes of redo log in MySQL or MariaDB"),
    "sqlite": (
        "SELECT (page_count - freelist_count) * page_size"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        "bytes by which the SQLite file grows",
    ),
}
_ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}
REDIS = ("redis", "rediss")
PATIENCE = 60.0
"""Seconds for an answer: a server that is busy with what is measured may take its time."""


class Account(NamedTuple):
    """``told``: how many bytes were written so far; ``what`` they are, for people."""

    told: Callable[[], int]
    what: str


def accounts(urls: Iterable[str]) -> list[Account]:
    """One for each of these places that can tell: not RabbitMQ, and no Redis Cluster."""
    found = [_account(url) for url in dict.fromkeys(urls)]
    return [account for account in found if account is not None]


def _account(url: str) -> Account | None:
    scheme = url.partition("://")[0]
    if scheme in REDIS:
        return Account(_redis(url), "bytes that Redis receives")
    if scheme.startswith(("amqp", "memory", *REDIS)):
        return None
    kind = scheme_of(url)
    statement, what = _SQL.get(_ALIASES.get(kind, kind), ("", ""))
    if not statement:
        return None
    database: Any = open_database(url, PATIENCE)
    return Account(lambda: int(database.read(statement)[0][-1]), what)


def _redis(url: str) -> Callable[[], int]:
    database: Any = import_module("taskbus.database.redis").RedisDatabase.open(url, PATIENCE)

    def told() -> int:
        lines = database.link().call("INFO", "stats", repeatable=True).decode().splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("total_net_input_bytes:"))

    return told
