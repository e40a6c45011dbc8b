"""Queues by name, exchanges and bindings: small hashes and sets beside the queues, in a slot of their own."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from taskbus.broker.transports.envelope import check_exchange, matching
from taskbus.broker.transports.port import Parcel, QueueCount
from taskbus.broker.transports.redis.keys import escaped, unescaped
from taskbus.broker.transports.redis.session import Session, script
from taskbus.errors import BrokerError, PublishFailed

LOOK, PURGE, DECLARE = script("look"), script("purge"), script("declare")
CELERY_SEP = "\x06\x16"
BATCH = 500
"""Queues looked at in one script: more would keep the server from others for too long."""

NOTED_FOR = 30.0
"""Seconds for which a queue that was put on the list is taken to be on it."""


class Topology:
    """The names that are known to one broker."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys = session.keys
        self._noted_until: dict[str, float] = {}
        self._shared: set[str] = set()

    # --- queues ---

    def queues(self) -> dict[str, tuple[float | None, float] | None]:
        """All queues that were ever used, or that Celery shares.

        When each expires and since when it is not used; None: nobody declared it.
        """
        found: dict[bytes, bytes] = self._session.call("HGETALL", self._keys.queues)
        known = {unescaped(name.decode()): msgpack.unpackb(kept) if kept else None for name, kept in found.items()}
        return dict.fromkeys(self._session.celery_queues) | known

    def look(self, queues: Sequence[str]) -> list[tuple[int, int, int, int, float | None]]:
        """Of each queue: how many are ready, delayed and held, how many consumers it has, and when the oldest came."""
        looked = []
        for start in range(0, len(queues), BATCH):
            some = queues[start : start + BATCH]
            bases = [self._keys.base(queue) for queue in some]
            for answer in self._session.run_on_each(LOOK, bases, (self._session.shared(some),), repeatable=True):
                looked += [(*row[:4], float(row[4]) if row[4] else None) for row in answer]
        return looked

    def declare_queue(self, queue: str, expires: float | None, *, passive: bool) -> QueueCount:
        if not passive:
            packed = msgpack.packb((expires, self._session.now()))
            self._session.run(DECLARE, [self._keys.queues], (escaped(queue), packed), repeatable=True)
            self.share([queue])
        elif not self._session.call("HGET", self._keys.queues, escaped(queue)):
            raise BrokerError(f"there is no queue {queue!r}")
        ((ready, _, _, consumers, _),) = self.look([queue])
        return QueueCount(queue, ready, consumers)

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        args = (int(if_unused), int(if_empty), self._session.shared([queue]))
        deleted: int = self._session.run(PURGE, [self._keys.base(queue)], args, repeatable=True)
        if deleted < 0:
            return 0
        self._noted_until.pop(queue, None)
        routes = self._session.call("SMEMBERS", self._keys.routes(queue))
        commands: list[Sequence[Any]] = [
            ("HDEL", self._keys.queues, escaped(queue)),
            ("DEL", self._keys.routes(queue)),
        ]
        for packed in routes:
            exchange, key = msgpack.unpackb(packed)
            commands.append(("SREM", self._keys.bound(exchange), msgpack.packb((queue, key))))
        self._session.pipeline(commands)
        return deleted

    def purge(self, queue: str) -> int:
        return int(self._session.run(PURGE, [self._keys.base(queue)], (0, 0, self._session.shared([queue]))))

    def share(self, queues: Iterable[str]) -> None:
        """Bind those that Celery shares as its workers do: to an exchange of the same name, where its tools look."""
        for queue in self._session.celery_queues.intersection(queues) - self._shared:
            member = f"{queue}{CELERY_SEP}{CELERY_SEP}{queue}"
            kept = f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}"
            self._session.pipeline([("SADD", key, member) for key in kept])
            self._shared.add(queue)

    def note(self, queues: Iterable[str]) -> None:
        """On a Cluster: have the list of queues name these. Said again now and then, should somebody lose the list."""
        now = time.monotonic()
        new = [queue for queue in queues if self._noted_until.get(queue, 0.0) < now]
        if new:
            if len(self._noted_until) > BATCH * 10:
                self._noted_until.clear()
            self._session.pipeline([("HSETNX", self._keys.queues, escaped(queue), "") for queue in new])
            self._noted_until.update(dict.fromkeys(new, now + NOTED_FOR))

    # --- exchanges ---

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        found = self._type(exchange)
        check_exchange(exchange, type, found, passive=passive)
        if found is None:
            self._session.call("HSETNX", self._keys.exchanges, exchange, type)

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        bindings = self._bindings(exchange)
        if if_unused and bindings:
            return
        commands: list[Sequence[Any]] = [("HDEL", self._keys.exchanges, exchange), ("DEL", self._keys.bound(exchange))]
        for queue, key in bindings:
            commands.append(("SREM", self._keys.routes(queue), msgpack.packb((exchange, key))))
        self._session.pipeline(commands)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self._session.pipeline(self._binding("SADD", queue, exchange, key))

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        self._session.pipeline(self._binding("SREM", queue, exchange, key))

    def _binding(self, command: str, queue: str, exchange: str, key: str) -> list[tuple[str, str, bytes]]:
        return [
            (command, self._keys.routes(queue), msgpack.packb((exchange, key))),
            (command, self._keys.bound(exchange), msgpack.packb((queue, key))),
        ]

    def routed(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Each parcel once for each queue its exchange sends it to; none is a valid answer, as in AMQP."""
        if not any(parcel.exchange for parcel in parcels):
            return parcels
        found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        routed: list[Parcel] = []
        for parcel in parcels:
            if not parcel.exchange:
                routed.append(parcel)
                continue
            if parcel.exchange not in found:
                found[parcel.exchange] = self._exchange(parcel.exchange)
            type, bindings = found[parcel.exchange]
            routed += [parcel._replace(key=queue) for queue in matching(type, parcel.key, bindings)]
        return routed

    def _exchange(self, exchange: str) -> tuple[str, list[tuple[str, str]]]:
        type = self._type(exchange)
        if type is None:
            raise PublishFailed(f"there is no exchange {exchange!r}; declare it before publishing to it")
        return type, self._bindings(exchange)

    def _type(self, exchange: str) -> str | None:
        found: bytes | None = self._session.call("HGET", self._keys.exchanges, exchange)
        return None if found is None else found.decode()

    def _bindings(self, exchange: str) -> list[tuple[str, str]]:
        packed = self._session.call("SMEMBERS", self._keys.bound(exchange))
        return [(queue, key) for queue, key in map(msgpack.unpackb, sorted(packed))]
