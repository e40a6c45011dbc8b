"""The Redis transport: messages are elements of lists, a delivery is an element in a hash under a worker's lease.

Every step is one script, so it happens whole or not at all. No key remembers a lock: whoever finds an expired lease may
reap it. On a Cluster a step is whole within each queue.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgpack

from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.features import Features
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.port import Claimed, Claims, Holder, Opening, Parcel, QueueCount
from taskbus.broker.transports.redis import element, pushing
from taskbus.broker.transports.redis.bell import Bell
from taskbus.broker.transports.redis.claiming import Claiming
from taskbus.broker.transports.redis.examining import examine
from taskbus.broker.transports.redis.holding import Holders, Holding
from taskbus.broker.transports.redis.session import Session, in_time, publish_failure, script
from taskbus.broker.transports.redis.settling import Settling
from taskbus.broker.transports.redis.topology import Topology
from taskbus.database.redis import RedisError
from taskbus.database.remark import Remark
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown
from taskbus.failpoint import failpoint
from taskbus.message import Message

REAP_LIMIT = 100
"""Messages of dead workers given back in one script; more take more scripts."""
PUBLISH = script("push", "publish")
JOIN, RENEW, LEAVE, REAP, BURY, PEEK = map(script, ("join", "renew", "leave", "reap", "bury", "peek"))
WITHDRAW = script("withdraw")
WITHIN = 5000
"""Elements of a list among which a message to be withdrawn is looked for: no script is to run for long."""

FEATURES = Features(
    name="redis",
    durable=True,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=True,
    processes=True,
    dedup=True,
    notes=(
        "what an accepted task survives is said by appendonly and appendfsync: `taskbus doctor` reads them",
        "a failover to a replica loses what was not replicated yet",
        "queues may be shared with Celery (celery_queues), whose lists are claimed from under the same lease",
    ),
)


CLUSTER_FEATURES = replace(
    FEATURES,
    name="redis cluster",
    atomic_settle=False,
    notes=(
        *FEATURES.notes[:2],
        "no queue can be shared with Celery, which knows no Cluster",
        "a batch is all or none in each queue; results and messages to other queues are stored before the ack",
        "each node compares leases and due times by its own clock: keep them synchronised",
    ),
)


class RedisStorage:
    """A ``Storage`` on a Redis or Valkey server, or a cluster of them."""

    def __init__(self, opening: Opening) -> None:
        self._session = session = Session(opening)
        self.features = CLUSTER_FEATURES if session.is_cluster else FEATURES
        self.now = session.now
        self.database = session.database.identity
        self._keys = session.keys
        self._topology = Topology(session)
        self._settling = Settling(session, self._follow_up)
        self._window = opening.dedup_window
        self._holders = Holders()
        self._claiming = Claiming(session, self._holders)

    # --- in ---

    @in_time
    def publish(self, parcels: Sequence[Parcel]) -> None:
        failpoint("publish.before")
        routed = self._topology.routed(parcels)
        if self._session.celery_queues:
            self._share(routed)
        if self._session.is_cluster:
            self._publish_apart(routed, self._window)
        elif routed:
            self._publish(routed, self._window)
        failpoint("publish.after")

    def _share(self, parcels: Sequence[Parcel]) -> None:
        try:
            self._topology.share(parcel.key for parcel in parcels)
        except BrokerError as error:
            raise PublishFailed(str(error)) from error

    def _publish(self, parcels: Sequence[Parcel], window: float) -> None:
        queues: dict[str, int] = {}
        args = pushing.arguments(parcels, queues, window, self._session.about_now())
        bases = [self._keys.base(queue) for queue in queues]
        try:
            self._session.attempt(PUBLISH, bases, args, midway="publish.inside")
        except RedisError as error:
            raise publish_failure(error) from error

    def _publish_apart(self, parcels: Sequence[Parcel], window: float) -> None:
        """On a Cluster: the parcels of each queue in a step of their own."""
        by_queue: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            by_queue.setdefault(parcel.key, []).append(parcel)
        try:
            self._topology.note(by_queue)
        except BrokerError as error:
            raise PublishFailed(str(error)) from error
        for n, each in enumerate(by_queue.values()):
            try:
                self._publish(each, window)
            except PublishFailed as error:
                if not n or isinstance(error, PublishUnknown):
                    raise
                raise PublishUnknown(f"{error}; messages to {n} other queues of this batch are queued") from error

    def _follow_up(self, parcels: Sequence[Parcel]) -> None:
        self._publish_apart(parcels, 0)

    # --- leases ---

    @in_time
    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        holder, holding = self._holders.new(lease), Holding(queues, name, self.now())
        self._join(holder, holding)
        self._holders.keep(holder, holding)
        return holder

    def _join(self, holder: Holder, holding: Holding) -> None:
        others = sorted(holding.queues - {*holding.consumed})
        known = msgpack.packb((holding.name, os.getpid(), holding.consumed, holding.started_at, others))
        bases = [self._keys.base(queue) for queue in holding.queues]
        lease = (holder.incarnation, repr(holder.lease))
        if self._session.is_cluster:
            self._session.run(JOIN, [self._keys.home], (*lease, known), repeatable=True)
            self._session.run_on_each(JOIN, bases, (*lease, ""), repeatable=True)
            self._topology.note(holding.queues)
        else:
            self._session.run(JOIN, [self._keys.home, *bases], (*lease, known), repeatable=True)

    def renew(self, holder: Holder) -> None:
        failpoint("renew.before")
        holding = self._holders.of(holder)
        bases = [self._keys.home, *(self._keys.base(queue) for queue in holding.queues)]
        for answer in self._session.run_on_each(
            RENEW, bases, (holder.incarnation, repr(holder.lease)), repeatable=True
        ):
            if not answer:
                raise self._holders.forget(holder)

    @in_time
    def reap(self) -> int:
        known = self._topology.queues()
        names = list(known)
        reaped = 0
        for start in range(0, len(names), 500):
            for bases in self._session.apart([self._keys.base(name) for name in names[start : start + 500]]):
                reaped += self._reap(bases)
        if reaped:
            failpoint("reap.inside")
        self._session.run(BURY, [self._keys.home], repeatable=True)
        now = self.now()
        for name, declared in known.items():
            if declared is not None and declared[0] is not None and declared[1] + declared[0] < now:
                self.delete_queue(name, if_unused=True, if_empty=False)
        return reaped

    def _reap(self, bases: Sequence[str]) -> int:
        reaped, is_more = 0, 1
        while is_more:
            count, is_more = self._session.run(REAP, bases, (REAP_LIMIT,), repeatable=True)
            reaped += count
        return reaped

    @in_time
    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        holding = self._holders.of(holder)
        self.renew(holder)
        left = {*holding.consumed} - {*queues}
        holding.consumed = tuple(queues)
        holding.queues.update(queues)
        self._join(holder, holding)
        for queue in left:  # else a ring that is meant for one of many could be spent on this one
            self._session.pipeline([("SREM", f"{self._keys.base(queue)}:waiting", holder.incarnation)])

    @in_time
    def leave(self, holder: Holder) -> None:
        failpoint("release.before")
        holding = self._holders.find(holder)
        queues = holding.queues if holding else ()
        bases = [self._keys.base(queue) for queue in queues]
        self._session.run_on_each(LEAVE, bases, (holder.incarnation,), repeatable=True)
        self._session.pipeline(
            [("HDEL", self._keys.workers, holder.incarnation), ("ZREM", self._keys.leases, holder.incarnation)]
        )
        self._holders.forget(holder)

    # --- out ---

    @in_time
    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        holding = self._holders.of(holder)
        if not holding.queues.issuperset(queues):
            self.renew(holder)
            holding.queues.update(queues)
            self._join(holder, holding)
        return self._claiming.claim(holder, holding, queues, limit)

    # --- settling ---

    @in_time
    def settle(
        self,
        holder: Holder | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        *,
        shared: bool,
    ) -> list[Delivery] | None:
        return self._settling.settle(holder, self._holders.find(holder), settlements, encode, record, shared=shared)

    # --- views ---

    @in_time
    def sizes(self) -> list[QueueSize]:
        known = self._topology.queues()
        names = sorted(known)
        return [
            QueueSize(name, ready, delayed, running, oldest_at)
            for name, (ready, delayed, running, _, oldest_at) in zip(names, self._topology.look(names), strict=True)
            if known[name] is not None or ready or delayed or running
        ]

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        args = (limit, self._session.shared([queue]))
        elements = self._session.run(PEEK, [self._keys.base(queue)], args, repeatable=True)
        return [
            claimed._replace(tag=n)
            for n, each in enumerate(elements, 1)
            for claimed in element.claimed(queue, 0, 0, [each])
        ]

    def withdraw(self, claimed: Claimed) -> bool:
        args = (WITHIN, claimed.rank, element.rest(claimed), self._session.shared([claimed.queue]))
        return bool(self._session.run(WITHDRAW, [self._keys.base(claimed.queue)], args))

    @in_time
    def workers(self) -> list[WorkerEntry]:
        leases: list[Any]
        known, leases = self._session.pipeline(
            [("HGETALL", self._keys.workers), ("ZRANGE", self._keys.leases, 0, -1, "WITHSCORES")]
        )
        entries = []
        for holder, until in leases:
            if holder not in known:
                continue
            name, pid, queues, started_at, others = msgpack.unpackb(known[holder])
            held = [f"{self._keys.base(queue)}:held:{holder.decode()}" for queue in (*queues, *others)]
            in_flight = sum(self._session.pipeline([("HLEN", key) for key in held]))
            entries.append(WorkerEntry(name, holder.decode(), pid, queues, started_at, until, in_flight))
        return sorted(entries, key=lambda entry: entry.started_at)

    def ping(self) -> None:
        self._session.call("PING")

    @in_time
    def examine(self) -> Sequence[Remark]:
        return examine(self._session)

    def watch(self) -> Bell:
        with self._session.errors():
            return Bell(self._session.link(), f"{self._keys.bells}{self._holders.bell}".encode())

    def close(self) -> None:
        self._session.database.leave()

    # --- topology ---

    def purge(self, queue: str) -> int:
        return self._topology.purge(queue)

    @in_time
    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        return self._topology.declare_queue(queue, expires, passive=passive)

    @in_time
    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        return self._topology.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    @in_time
    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        self._topology.declare_exchange(exchange, type, passive=passive)

    @in_time
    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        self._topology.delete_exchange(exchange, if_unused=if_unused)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self._topology.bind(queue, exchange, key)

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        self._topology.unbind(queue, exchange, key)


class RedisTransport(StorageTransport):
    """kombu's name for it."""

    open = RedisStorage
