"""Which transport a URL's scheme leads to: kombu's aliases of ours, each imported only when it is used.

kombu's own names stay untouched, so that a program that uses them may live in the same process.
"""

import difflib
from importlib import import_module
from typing import NamedTuple

# mypy: allow-untyped-calls
from kombu.transport import TRANSPORT_ALIASES

from taskbus.database.urls import redacted
from taskbus.errors import ConfigError


class Scheme(NamedTuple):
    """``alias`` is kombu's name for the transport, ``extra`` what pip must install for it ("": nothing)."""

    alias: str
    extra: str = ""


SCHEMES = {
    "sqlite": Scheme("taskbus-sql"),
    "memory": Scheme("taskbus-memory"),
    **dict.fromkeys(("amqp", "amqps"), Scheme("taskbus-amqp")),
    **dict.fromkeys(
        ("redis", "rediss", "sentinel", "sentinels", "redis+cluster", "rediss+cluster"),
        Scheme("taskbus-redis", "redis"),
    ),
    **dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), Scheme("taskbus-postgresql", "postgresql")),
    **dict.fromkeys(("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"), Scheme("taskbus-mysql", "mysql")),
}
_ALIASES = {
    "taskbus-sql": "taskbus.broker.transports.sql:SqlTransport",
    "taskbus-postgresql": "taskbus.broker.transports.sql_postgresql:PostgresqlTransport",
    "taskbus-mysql": "taskbus.broker.transports.sql_mysql:MysqlTransport",
    "taskbus-memory": "taskbus.broker.transports.memory:MemoryTransport",
    "taskbus-amqp": "taskbus.broker.transports.amqp.storage:AmqpTransport",
    "taskbus-redis": "taskbus.broker.transports.redis.storage:RedisTransport",
}
TRANSPORT_ALIASES.update(_ALIASES)


def transport_of(url: str) -> str:
    """The kombu transport for ``url``, by alias.

    Raises:
        ConfigError: its scheme is not a broker's, or a library it needs is not installed.
    """
    scheme, separator, _ = url.partition("://")
    known = SCHEMES.get(scheme) if separator else None
    if known is None:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}://?" if near else f"there are {', '.join(f'{name}://' for name in SCHEMES)}"
        raise ConfigError(f"{redacted(url)!r} is no broker this TaskBus knows; {hint}")
    try:
        import_module(_ALIASES[known.alias].partition(":")[0])
    except ModuleNotFoundError as error:
        if not known.extra or str(error.name).startswith("taskbus"):
            raise
        raise ConfigError(f"{scheme}:// needs {error.name}: pip install 'taskbus[{known.extra}]'") from None
    return known.alias
