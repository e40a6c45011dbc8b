"""Exchanges, bindings and queue declarations of the SQL transport: each function inside its caller's transaction.

``sql`` are the named statements of the database's dialect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.broker.transports.envelope import check_exchange, matching
from taskbus.broker.transports.port import Parcel, QueueCount
from taskbus.errors import BrokerError, PublishFailed

Statements = Mapping[str, str]


def routed(cursor: Any, sql: Statements, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
    """Each parcel once for each queue its exchange sends it to."""
    for parcel in parcels:
        if parcel.exchange:
            return [
                each._replace(key=queue)
                for each in parcels
                for queue in (_route(cursor, sql, each.exchange, each.key) if each.exchange else (each.key,))
            ]
    return parcels


def _route(cursor: Any, sql: Statements, exchange: str, key: str) -> Sequence[str]:
    """The queues a message goes to; none is a valid answer, as in AMQP."""
    found = cursor.execute(sql["exchange"], (exchange,)).fetchone()
    if found is None:
        raise PublishFailed(f"there is no exchange {exchange!r}; declare it before publishing to it")
    return matching(found[0], key, cursor.execute(sql["bindings"], (exchange,)).fetchall())


def declare_queue(
    cursor: Any, sql: Statements, queue: str, expires: float | None, *now: float, passive: bool
) -> QueueCount:
    """``now``: the instant, where the statement asks for it."""
    if passive:
        if cursor.execute(sql["queue"], (queue,)).fetchone() is None:
            raise BrokerError(f"there is no queue {queue!r}")
    else:
        cursor.execute(sql["declare_queue"], (queue, expires, *now))
    return QueueCount(queue, *cursor.execute(sql["count_queue"], (queue, queue)).fetchone())


def delete_queue(cursor: Any, sql: Statements, queue: str, *, if_unused: bool, if_empty: bool) -> int:
    messages, consumers = cursor.execute(sql["count_queue"], (queue, queue)).fetchone()
    if (if_unused and consumers) or (if_empty and messages):
        return 0
    cursor.execute(sql["delete_queue"], (queue,))
    cursor.execute(sql["unbind_queue"], (queue,))
    return purge(cursor, sql, queue)


def purge(cursor: Any, sql: Statements, queue: str) -> int:
    ready = int(cursor.execute(sql["purge_ready"], (queue,)).rowcount)
    return ready + int(cursor.execute(sql["purge_delayed"], (queue,)).rowcount)


def declare_exchange(cursor: Any, sql: Statements, exchange: str, type: str, *, passive: bool) -> None:
    found = cursor.execute(sql["exchange"], (exchange,)).fetchone()
    check_exchange(exchange, type, found[0] if found else None, passive=passive)
    if found is None:
        cursor.execute(sql["declare_exchange"], (exchange, type))


def delete_exchange(cursor: Any, sql: Statements, exchange: str, *, if_unused: bool) -> None:
    if if_unused and cursor.execute(sql["bindings"], (exchange,)).fetchone() is not None:
        return
    cursor.execute(sql["unbind_exchange"], (exchange,))
    cursor.execute(sql["delete_exchange"], (exchange,))
