"""Between the supervisor's loop and the station that speaks with Celery's tools.

Commands arrive in the station's thread and are carried out in the loop, which owns everything they look at; only what
needs nothing of it is answered at once, so that a worker whose broker is slow still answers a ping.
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from taskbus.broker.delivery import Settlement
from taskbus.broker.monitoring.place import is_celerys, place_of
from taskbus.broker.monitoring.station import NoReply, Station
from taskbus.config import Config
from taskbus.errors import BrokerError
from taskbus.monitor.events import software
from taskbus.worker import answers, orders
from taskbus.worker.realm import Realm
from taskbus.worker.settlement import Ended

PATIENCE = 5.0
"""Seconds that the loop may take to answer."""
START_WITHIN = 2.0
"""Seconds that a worker which finds tasks waiting works on them alone before it begins to speak."""
FAREWELL = 1.0
"""Seconds that a worker which stops may take to say goodbye."""
Command = Callable[..., Any]

AT_ONCE: dict[str, Command] = {
    each.__name__: each for each in (answers.ping, answers.memsample, answers.memdump, answers.objgraph)
}
ASKING: dict[str, Command] = {
    each.__name__: each
    for each in (
        answers.report, answers.conf, answers.registered, answers.query_task, answers.active, answers.reserved,
        answers.scheduled, answers.revoked, answers.stats, answers.active_queues,
    )
}  # fmt: skip
TELLING: dict[str, Command] = {
    each.__name__: each for each in (orders.enable_events, orders.disable_events, orders.election)
}
CHANGING: dict[str, Command] = {
    each.__name__: each
    for each in (
        orders.revoke, orders.terminate, orders.revoke_by_stamped_headers, orders.rate_limit, orders.time_limit,
        orders.pool_grow, orders.pool_shrink, orders.pool_restart, orders.autoscale, orders.add_consumer,
        orders.cancel_consumer, orders.shutdown,
    )
}  # fmt: skip
ALIASES = {
    "dump_conf": "conf", "dump_active": "active", "dump_reserved": "reserved", "dump_schedule": "scheduled",
    "dump_revoked": "revoked", "dump_tasks": "registered",
}  # fmt: skip
"""Celery's older names of its commands."""


def is_wanted(config: Config, broker_url: str) -> bool:
    """Whether this worker is to be heard of: on brokers that Celery's tools know it is, unless switched off."""
    if config.remote_control == "off":
        return config.telemetry
    return config.telemetry or config.remote_control in ("full", "inspect") or is_celerys(broker_url)


class Monitoring:
    """Telemetry and remote control of one worker. Belongs to the loop; what the station calls is said to be its."""

    def __init__(self, realm: Realm, broker_url: str) -> None:
        self._realm = realm
        self._may_ask = realm.config.remote_control != "off"
        self._may_change = realm.config.remote_control in ("full", "auto")
        self._waiting: deque[tuple[Command, Mapping[str, Any], Future[Any]]] = deque()
        self._bell, self._ours = socket.socketpair()
        for end in (self._bell, self._ours):
            end.setblocking(False)
        self._station: Station | None = None
        self._start_by: float | None = None
        if is_wanted(realm.config, broker_url):
            self._station = Station(place_of(broker_url), realm.node, self)
            realm.telemetry.ring = self._station.ring

    # --- in the loop ---------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._ours.fileno()

    def serve(self, _: int = 0) -> None:
        """Carry out what was asked for."""
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)
        while self._waiting:
            command, arguments, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(command(self._realm, **arguments))
                except Exception as error:  # noqa: BLE001 - whoever asked is told, and the worker works on
                    future.set_exception(error)

    def settled(self, ended: Sequence[Ended], settlements: Sequence[Settlement], stale: Collection[int]) -> None:
        """Count these, which have ended and were settled so, and tell of them if anybody wants to know."""
        if self._station is None:
            return
        totals = self._realm.totals
        for each in ended:
            if each.started_at and each.held.message is not None:
                totals[each.held.message.task] += 1
        if self._realm.telemetry.is_on:
            self._realm.telemetry.ended(ended, settlements, stale)

    def tick(self, now: float, is_idle: Callable[[], bool]) -> None:
        """Look at what has started, and let start what was kept until now; and the station, once nobody is in a hurry.

        A station imports for a tenth of a second. Meanwhile the loop waits for the interpreter each time it has waited
        for a socket: that must not meet the tasks that a worker finds when it comes.
        """
        realm = self._realm
        if self._start_by is not None and self._station is not None and (now >= self._start_by or is_idle()):
            self._start_by = None
            self._station.start()
        if realm.telemetry.is_on:
            realm.telemetry.look(realm.crew.runners.values(), now)
        if realm.standing.is_any:
            for held in realm.standing.due(now):
                realm.dispatcher.park(held, now)

    def next_at(self, now: float) -> float | None:
        """When ``tick`` has something to do."""
        realm = self._realm
        looks = realm.telemetry.next_look(realm.crew.runners.values()) if realm.telemetry.is_on else None
        due = realm.standing.next_at(now) if realm.standing.is_any else None
        return min(filter(None, (looks, due, self._start_by)), default=None)

    def start(self) -> None:
        """Begin to speak when there is nothing to do, or soon, if anybody is to hear it."""
        if self._station is not None:
            self._start_by = time.monotonic() + START_WITHIN

    def close(self) -> None:
        """Say goodbye and fall silent."""
        self._may_ask = False
        while self._waiting:
            self._waiting.popleft()[2].cancel()
        if self._station is not None:
            self._station.stop(FAREWELL)
        self._bell.close()
        self._ours.close()

    # --- in the station's thread ---------------------------------------------------------------------------------

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """See ``Post.answer``."""
        assert self._station is not None
        name = ALIASES.get(method, method)
        if not self._may_ask:
            raise NoReply
        match name:
            case "clock":
                return {"clock": self._station.clock}
            case "heartbeat":
                self._station.present()
                return None
            case "hello":
                return self._hello(**arguments)
            case "stats":
                said = self._in_loop(answers.stats, arguments)
                return {**said, "clock": str(self._station.clock), "broker": self._station.broker}
        if name in AT_ONCE:
            return AT_ONCE[name](self._realm, **arguments)
        if name in CHANGING and not self._may_change:
            raise PermissionError(f"{method} is switched off: this worker runs with remote_control=inspect")
        reply = self._in_loop((ASKING | TELLING | CHANGING)[name], arguments)
        if name == "shutdown":
            raise NoReply
        return reply

    def ask(self, command: Command, arguments: Mapping[str, Any]) -> "Future[Any]":
        """Have the loop carry it out when it next turns. For any thread; nothing is waited for."""
        future: Future[Any] = Future()
        self._waiting.append((command, arguments, future))
        with contextlib.suppress(OSError):
            self._bell.send(b".")
        return future

    def carry_out(self, method: str, arguments: Mapping[str, Any]) -> "Future[Any]":
        """An order that came with a report, by the rules for Celery's commands; the future gets the reply."""
        name = ALIASES.get(method, method)
        command = (ASKING | TELLING | CHANGING | AT_ONCE).get(name)
        error: Exception | None = None
        if command is None:
            error = LookupError(f"{method!r} is no order that a worker of this version knows")
        elif not self._may_ask or (name in CHANGING and not self._may_change):
            mode = self._realm.config.remote_control
            error = PermissionError(f"{method} is switched off: this worker runs with remote_control={mode}")
        if command is None or error is not None:
            refused: Future[Any] = Future()
            refused.set_exception(error)
            return refused
        return self.ask(command, arguments)

    def _in_loop(self, command: Command, arguments: Mapping[str, Any]) -> Any:
        future = self.ask(command, arguments)
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            future.cancel()
            raise BrokerError(f"the worker is busy with its broker, and did not answer in {PATIENCE:g} s") from None

    def _hello(self, from_node: str, revoked: Any = None, **_: Any) -> Any:
        """Another worker has come, and tells what it knows to be revoked; older ones tell ids with instants."""
        if from_node == self._realm.node:
            return None
        assert self._station is not None
        known = self._in_loop(_exchange_revoked, {"revoked": list(revoked or ())})
        return {"revoked": known, "clock": self._station.clock}

    def greeting(self) -> Mapping[str, Any]:
        """See ``Post.greeting``."""
        return {"from_node": self._realm.node, "revoked": list(self._realm.standing.revoked)}

    def learn(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """See ``Post.learn``."""
        said = [reply for each in replies for reply in each.values() if isinstance(reply, Mapping)]
        found = [task_id for reply in said for task_id in reply.get("revoked") or ()]
        if found:
            self._in_loop(_exchange_revoked, {"revoked": found})

    def events(self) -> Sequence[Mapping[str, Any]]:
        """See ``Post.events``."""
        return self._realm.telemetry.take()

    def presence(self) -> Mapping[str, Any]:
        """See ``Post.presence``."""
        return {
            **software(),
            "active": sum(1 for _ in self._realm.active()),
            "processed": sum(self._realm.totals.values()),
            "loadavg": [round(load, 2) for load in os.getloadavg()],
            "dropped": self._realm.telemetry.dropped,
        }

    def lost(self, events: int) -> None:
        """See ``Post.lost``."""
        self._realm.telemetry.dropped += events


def _exchange_revoked(realm: Realm, revoked: Sequence[str]) -> list[str]:
    realm.standing.revoke(revoked)
    return list(realm.standing.revoked)
