"""Exchanges, bindings and queue declarations of the SQL transport: each function inside its caller's transaction."""

from collections.abc import Sequence
from sqlite3 import Cursor

from taskbus.broker.transports.envelope import EXCHANGE_TYPES, matching
from taskbus.broker.transports.port import QueueCount
from taskbus.broker.transports.sql_session import SQL
from taskbus.errors import BrokerError, PublishFailed


def route(cursor: Cursor, exchange: str, key: str) -> Sequence[str]:
    """The queues a message goes to; none is a valid answer, as in AMQP."""
    found = cursor.execute(SQL["exchange"], (exchange,)).fetchone()
    if found is None:
        raise PublishFailed(f"there is no exchange {exchange!r}; declare it before publishing to it")
    return matching(found[0], key, cursor.execute(SQL["bindings"], (exchange,)).fetchall())


def declare_queue(cursor: Cursor, queue: str, expires: float | None, now: float, *, passive: bool) -> QueueCount:
    if passive:
        if cursor.execute(SQL["queue"], (queue,)).fetchone() is None:
            raise BrokerError(f"there is no queue {queue!r}")
    else:
        cursor.execute(SQL["declare_queue"], (queue, expires, now))
    return QueueCount(queue, *cursor.execute(SQL["count_queue"], (queue, queue)).fetchone())


def delete_queue(cursor: Cursor, queue: str, *, if_unused: bool, if_empty: bool) -> int:
    messages, consumers = cursor.execute(SQL["count_queue"], (queue, queue)).fetchone()
    if (if_unused and consumers) or (if_empty and messages):
        return 0
    cursor.execute(SQL["delete_queue"], (queue,))
    cursor.execute(SQL["unbind_queue"], (queue,))
    return purge(cursor, queue)


def purge(cursor: Cursor, queue: str) -> int:
    ready = cursor.execute(SQL["purge_ready"], (queue,)).rowcount
    return ready + cursor.execute(SQL["purge_delayed"], (queue,)).rowcount


def declare_exchange(cursor: Cursor, exchange: str, type: str, *, passive: bool) -> None:
    found = cursor.execute(SQL["exchange"], (exchange,)).fetchone()
    if found is None and passive:
        raise BrokerError(f"there is no exchange {exchange!r}")
    if found is not None and found[0] != type and not passive:
        raise BrokerError(f"exchange {exchange!r} exists with type {found[0]!r}, not {type!r}")
    if type not in EXCHANGE_TYPES:
        raise BrokerError(f"exchange {exchange!r}: type {type!r} is not one of {', '.join(EXCHANGE_TYPES)}")
    if found is None:
        cursor.execute(SQL["declare_exchange"], (exchange, type))


def delete_exchange(cursor: Cursor, exchange: str, *, if_unused: bool) -> None:
    if if_unused and cursor.execute(SQL["bindings"], (exchange,)).fetchone() is not None:
        return
    cursor.execute(SQL["unbind_exchange"], (exchange,))
    cursor.execute(SQL["delete_exchange"], (exchange,))
