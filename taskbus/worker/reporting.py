"""What a worker reports: what it is, runs and has counted; and what it does with what it hears.

All of this is called in the reporting thread. It looks at what the loop owns only where that may be looked at from any
thread; what is to be done is handed to the loop.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgpack

from taskbus import __version__
from taskbus.monitor.report import MAX_RUNNING, NodeState, Running, pack_records
from taskbus.monitor.resources import cpu_of, resident
from taskbus.store.reports import Answer, Inbox, Order, Report
from taskbus.worker.realm import Realm
from taskbus.worker.recording import Recorder
from taskbus.worker.tallying import Tally

AT_ONCE = 500
"""Records in one report at most; what is more waits for the next."""
Obey = Callable[[Order, bool], "Future[Any] | None"]
"""Has an order carried out; the future gets what is answered. None: it is not for this worker."""


class WorkerSource:
    """See ``monitor.reporting.Source``. ``brief`` is told which queues are paused, None if that cannot be known."""

    def __init__(
        self,
        realm: Realm,
        tally: Tally,
        recorder: Recorder,
        obey: Obey,
        brief: Callable[[frozenset[str] | None], None],
    ) -> None:
        self._realm = realm
        self._tally = tally
        self._recorder = recorder
        self._obey = obey
        self._brief = brief
        self._host = socket.gethostname()
        self._started_at = time.time()
        self._answers: list[Answer] = []
        self._asked: list[tuple[Order, Future[Any]]] = []
        self._is_busy = False
        self.node = ""
        self.http = ""
        self.ring: Callable[[], None] = lambda: None

    def state(self) -> NodeState:
        realm, info = self._realm, self._realm.info
        running = list(realm.active())
        runners = realm.runners()
        memory = {runner.pid: runner.resident() for runner in runners if runner.pid}
        return NodeState(
            kind="worker",
            name=realm.node,
            host=self._host,
            pid=info.pid,
            version=__version__,
            app=info.app,
            started_at=self._started_at,
            is_stopping=realm.crew.is_stopping,
            pool=info.pool,
            processes=max(1, realm.crew.size),
            slots=realm.slots,
            queues=realm.consumer.queues,
            tasks=sorted(name for name in realm.specs if not name.startswith("celery.")),
            active=len(running),
            held=sum(len(runner.held) for runner in runners) + realm.dispatcher.parked,
            running=[self._told(each) for each in running[:MAX_RUNNING]],
            runners=list(memory.items()),
            rss=resident(info.pid) + sum(memory.values()),
            cpu=cpu_of([info.pid, *memory]),
            load=os.getloadavg()[0],
            dropped=self._tally.dropped,
            sampled=self._tally.sampled(),
            http=self.http,
            limits=[(name, limit.text) for name, limit in list(realm.standing.limits.items())],
            last_fetch_at=realm.fetched_at,
        )

    def _told(self, active: Any) -> Running:
        held = active.held
        return Running(
            held.message.id, held.message.task, held.delivery.queue, held.message.attempt, active.since,
            active.runner.pid or self._realm.info.pid, active.slot, self._recorder.progress(held), held.flow,
        )  # fmt: skip

    def is_busy(self) -> bool:
        return self._is_busy or len(self._tally) > 0

    def minutes(self) -> Mapping[int, bytes]:
        minutes = self._tally.tallies.minutes()
        self._is_busy = bool(minutes) or any(runner.held for runner in self._realm.runners())
        return minutes

    def records(self) -> bytes:
        facts = self._tally.take(AT_ONCE)
        return pack_records(map(self._recorder.record, facts)) if facts else b""

    def answers(self) -> Sequence[Answer]:
        waiting = []
        for order, future in self._asked:
            if future.done():
                self._answers.append(Answer(order.number, self.node, _answer(future)))
            else:
                waiting.append((order, future))
        self._asked = waiting
        return self._answers

    def posted(self, report: Report, answers: Sequence[Answer]) -> None:
        self._tally.tallies.posted(report.minutes)
        said = {answer.order for answer in answers}
        self._answers = [answer for answer in self._answers if answer.order not in said]

    def heard(self, inbox: Inbox, *, is_first: bool) -> None:
        for order in inbox.orders:
            future = self._obey(order, is_first)
            if future is not None:
                self._asked.append((order, future))
                future.add_done_callback(lambda _: self.ring())
        self._brief(inbox.paused)  # last: with it the worker begins to fetch, and what was revoked must not run

    def unheard(self, error: Exception) -> None:
        self._brief(None)


def _answer(future: "Future[Any]") -> bytes:
    """What the store is given, whatever it ended as."""
    try:
        reply = future.result()
    except Exception as error:  # noqa: BLE001 - whoever asked is told
        reply = {"error": str(error) or type(error).__name__}
    if not (isinstance(reply, dict) and reply.keys() & {"ok", "error"}):
        reply = {"ok": reply}
    packed: bytes = msgpack.packb(reply, default=repr)
    return packed
