"""The worker's side of a broker: fetch, settle, renew, reap, all under one lease."""

import os
from collections.abc import Sequence, Set
from functools import partial

# mypy: allow-untyped-calls
from kombu.connection import Connection

from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.parcels import to_delivery, to_parcel
from taskbus.broker.transports.port import Holder, Storage, Watch
from taskbus.clock import Clock
from taskbus.database.remark import Remark
from taskbus.errors import BrokerError, StoreError


class Consumer:
    """A holder of deliveries: they are its own for as long as its lease is renewed. One thread at a time may use it.

    ``incarnation`` names this lease holder; it changes with ``rejoin``. Every method raises ``BrokerError`` when the
    broker cannot be used, having changed nothing, and may be called again.
    """

    def __init__(
        self,
        connection: Connection,
        queues: Sequence[str],
        *,
        name: str,
        lease: float,
        clock: Clock,
        celery_queues: Set[str] = frozenset(),
    ) -> None:
        self._to_parcel = partial(to_parcel, celery_queues=celery_queues)
        self._connection = connection
        self._storage: Storage = connection.channel().storage
        self._queues = list(dict.fromkeys(queues))
        self._resting: Set[str] = frozenset()
        self._must_attend = False
        self._name = name
        self._lease = lease
        self._clock = clock
        self._pid = os.getpid()
        self._is_closed = False
        self._next_due_at: float | None = None
        self._patient_until = 0.0
        for queue in self._queues:
            self._storage.declare_queue(queue, expires=None, passive=False)
        self._watch: Watch = self._storage.watch()
        self._holder = self._join()

    def _join(self) -> Holder:
        self._renewed_at = self._clock()
        holder = self._storage.join(self._name, self._attended(), self._lease)
        self._must_attend = False
        return holder

    @property
    def incarnation(self) -> str:
        return self._holder.incarnation

    @property
    def queues(self) -> list[str]:
        """The queues it fetches from, by name."""
        return sorted(self._queues)

    def attend(self, queues: Sequence[str]) -> None:
        """Fetch from these queues from now on. What it holds of others stays its own until it is settled."""
        storage, names = self._mine(), list(dict.fromkeys(queues))
        for queue in names:
            if queue not in self._queues:
                storage.declare_queue(queue, expires=None, passive=False)
        storage.attend(self._holder, self._attended(names))
        self._queues = names

    def rest(self, queues: Set[str]) -> None:
        """Fetch nothing from these queues until told otherwise; what came from them stays its own until it is settled.

        Raises ``BrokerError``; even so the next ``fetch`` will heed it.
        """
        before, self._resting = self._attended(), queues
        self._must_attend = self._must_attend or self._attended() != before
        self._attend_now()

    def _attend_now(self) -> None:
        if self._must_attend:
            self._mine().attend(self._holder, self._attended())
            self._must_attend = False

    def _attended(self, queues: Sequence[str] | None = None) -> list[str]:
        """Those that do not rest."""
        every = self._queues if queues is None else queues
        return [queue for queue in every if queue not in self._resting] if self._resting else list(every)

    # --- waking up ---

    def fileno(self) -> int:
        """A descriptor that is readable when ``fetch`` may find something new, sometimes without cause."""
        return self._watch.fileno()

    def clear(self) -> None:
        """Make it unreadable. Call it before ``fetch``, so that nothing that comes in between goes unnoticed."""
        self._watch.drain()

    def next_due_at(self) -> float | None:
        """When the next delayed message becomes due, as of the last ``fetch``; an instant past means fetch again."""
        return self._next_due_at

    def now(self) -> float:
        """The broker's time: what ``next_due_at``, expiries and the due times of retries are measured by."""
        return self._storage.now()

    def examine(self) -> Sequence[Remark]:
        """What the broker's live settings mean; asked on this consumer's own connection."""
        return self._storage.examine()

    # --- deliveries ---

    def fetch(self, limit: int) -> list[Delivery]:
        """Take up to ``limit`` messages: by priority, then first in first out in each queue, the queues taking turns.

        When there is nothing to take nothing is written, so that an idle worker disturbs nobody. Raises ``LeaseLost``,
        having taken nothing, if this worker was reaped.
        """
        storage = self._mine()
        self._attend_now()
        queues = self._attended() if self._resting else self._queues
        if not queues:
            self._next_due_at = None
            return []
        claims = storage.claim(self._holder, queues, limit)
        self._next_due_at = claims.next_due_at
        if claims.claimed and len(self._queues) > 1:
            self._queues.append(self._queues.pop(0))
        return [to_delivery(claimed) for claimed in claims.claimed]

    def settle(self, settlements: Sequence[Settlement], record: Record | None, *, shared: bool) -> list[Delivery]:
        """Ack or give back, publish the follow-ups and record the changes of each settlement, all in one step.

        Returns the deliveries this worker does not hold any more: for them nothing was done at all. ``shared``: the
        record's database is this broker's, and takes part in the step. Otherwise changes are recorded first, for the
        deliveries still held: dying in between repeats an attempt, and loses nothing.

        Raises:
            StoreError: ``record`` refused a change; nothing was done.
        """
        stale = self._mine().settle(self._holder, settlements, self._to_parcel, record, shared=shared)
        if stale is None:
            raise StoreError("the store refused a change; nothing was settled")
        return stale

    # --- the lease ---

    def renew(self) -> None:
        """Let the lease run from now. Raises ``LeaseLost`` if it was taken away; ``rejoin`` gets a new one."""
        asked_at, last = self._clock(), self._renewed_at
        self._mine().renew(self._holder)
        self._renewed_at = asked_at
        done_at = self._clock()
        if done_at - last > self._lease / 2:
            self._patient_until = done_at + self._lease / 2

    def reap(self) -> int:
        """Give back what dead workers held, counting a loss each, and forget them; returns how many messages.

        Does nothing when this worker itself was late to renew, nor for half a lease after that: when the host was
        paused or the database locked, everyone must have had the time to renew before anyone is taken for dead.
        """
        now = self._clock()
        if now - self._renewed_at > self._lease / 2 or now < self._patient_until:
            return 0
        return self._mine().reap()

    def rejoin(self) -> None:
        """After ``LeaseLost``: join again as a new incarnation, which holds nothing."""
        self._holder = self._join()

    def close(self) -> None:
        """Give back all it holds, uncounted, and deregister. Closing again does nothing."""
        if self._is_closed or self._pid != os.getpid():
            return
        self._is_closed = True
        try:
            self._storage.leave(self._holder)
        finally:
            self._watch.close()
            self._connection.release()

    def _mine(self) -> Storage:
        if self._pid != os.getpid():
            raise BrokerError("this consumer belongs to the parent process; open one of your own")
        return self._storage
