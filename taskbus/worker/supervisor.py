"""The supervisor: one thread, one loop. It owns the broker and runs no user code.

Every turn of the loop: hear from the runners, settle what has ended, renew the lease, fetch what fits, hand it out.
What must not wait for the broker (killing an attempt that overstays) is the watchdog's.
"""

import contextlib
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Delivery, Settlement
from taskbus.clock import wall_clock
from taskbus.database.urls import redacted
from taskbus.errors import LeaseLost
from taskbus.monitor.naming import node_name
from taskbus.monitor.wording import counted
from taskbus.outcome import Released
from taskbus.store.opening import open_store
from taskbus.worker import inspection
from taskbus.worker.admission import Admission
from taskbus.worker.beating import beat_beside
from taskbus.worker.celery_errands import CeleryErrands
from taskbus.worker.crew import Crew
from taskbus.worker.dispatch import Dispatcher
from taskbus.worker.flows import Flows, stamped
from taskbus.worker.intake import Intake
from taskbus.worker.launch import Launched
from taskbus.worker.leases import Leases
from taskbus.worker.mourning import estate, judged
from taskbus.worker.observing import Observers
from taskbus.worker.options import TaskSpec, WorkerInfo, WorkerOptions
from taskbus.worker.patience import Patience
from taskbus.worker.quarantine import Quarantine
from taskbus.worker.queues import config_of, queues_of
from taskbus.worker.realm import Realm
from taskbus.worker.runners import Runner, RunnerServer, listen
from taskbus.worker.settlement import Ended, Held, brings_more, settlement
from taskbus.worker.signals import Signals
from taskbus.worker.standing import Standing
from taskbus.worker.telemetry import Telemetry
from taskbus.worker.telling import Teller
from taskbus.worker.watchdog import Watchdog

logger = logging.getLogger(__name__)

MAX_IDLE = 5.0
"""Longest sleep of the loop: the net under a wake-up that was lost."""
AFTER_KILL = 10.0
"""Seconds the loop goes on after it has killed its runners, to give back what they held."""


def run(
    options: WorkerOptions,
    on_ready: Callable[[WorkerInfo], None] = lambda _: None,
    launched: Launched | None = None,
) -> int:
    """Run a worker until it is told to stop; returns its exit status. ``launched``: its runners' server, if started.

    0: stopped in good order. 1: stopped at once by a second signal, or could not give everything back.
    Raises ``ConfigError`` if the app cannot be imported, ``BrokerError`` if the broker cannot be used.
    """
    with contextlib.closing(Supervisor(options, launched)) as supervisor:
        return supervisor.run(on_ready)


class Supervisor:
    """One worker. See the module's docstring for its loop."""

    def __init__(self, options: WorkerOptions, launched: Launched | None = None) -> None:
        started = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(options, self._watch, self._unwatch, launched)
        self._closing = contextlib.ExitStack()
        self._closing.callback(self._crew.close)
        try:
            self._open(options, self._crew.start(), started)
        except BaseException:
            self._closing.close()
            raise

    def _open(self, options: WorkerOptions, hello: dict[str, Any], started: float) -> None:
        self.config = config = config_of(hello["config"])
        self._crew.configure(config)
        own = {name: TaskSpec(**spec) for name, spec in hello["tasks"].items()}
        queues = queues_of(config, own)
        self.name = options.name or f"{socket.gethostname()}:{os.getpid()}"
        broker = Broker(
            hello["broker"], max_message_bytes=config.max_message_bytes, publish_timeout=config.publish_timeout,
            dedup_window=config.dedup_window, celery_queues=config.celery_queues,
        )  # fmt: skip
        self._closing.callback(broker.close)
        inspection.must_be_shared(broker)
        self._store = open_store(hello["results"], wall_clock)
        self._closing.callback(self._store.close)
        self._shares = bool(broker.database) and broker.database == self._store.database
        self._consumer = broker.consumer(queues, name=self.name, lease=config.lease)
        self._closing.callback(self._consumer.close)
        inspection.inspect(self._consumer, self._store, shared=self._shares)
        self._leases = Leases(self._consumer, config.lease, config.sweep)
        self._record = self._store.apply if self._shares else stamped(self._store.apply)
        self._celery = CeleryErrands(own, config, self.name, self._store)
        self._closing.callback(self._celery.desk.close)
        specs = {**own, **self._celery.desk.tasks}
        flows = Flows(self._store.begin, shared=self._shares)
        self._admission = Admission(Intake(specs, config), flows, self._consumer, self._record, shared=self._shares)
        self._dispatcher = Dispatcher(own, config.threads, config.coroutines)
        self._quarantine = Quarantine(config.max_losses)
        self._standing = Standing()
        self._watchdog = Watchdog(lambda: list(self._crew.runners.values()))
        self._ended: list[Ended] = []
        self._other: list[Settlement] = []
        self._to_judge: deque[Held] = deque()
        self._may_fetch = True
        self._patience, self._sweeping = Patience(), Patience()  # a store that answers says nothing of the broker
        self._signals = Signals(self._selector)
        self._stop_deadline: float | None = None
        self._is_killing = False
        self._is_announced = False
        beside = beat_beside(hello, broker, self._store, config)
        beat = self._closing.enter_context(beside) if options.beat else None
        self._selector.register(self._consumer.fileno(), selectors.EVENT_READ, self._on_broker)
        self.info = WorkerInfo(
            app=hello["app"], name=self.name, pid=os.getpid(), broker=broker.safe_url,
            results=redacted(hello["results"]) if not self._shares else broker.safe_url, is_shared=self._shares,
            pool=options.pool, processes=self._crew.size, threads=config.threads, coroutines=config.coroutines,
            queues=queues, tasks=own, lease=config.lease, grace=config.grace, started_in=time.monotonic() - started,
        )  # fmt: skip
        realm = Realm(
            node_name(options.name), config, self.info, specs, self._crew, self._dispatcher, self._consumer,
            self._standing, Telemetry(config.telemetry_rate, is_on=config.telemetry),
            lambda ended: self._ended.extend(ended), self._signals.stop, self._watchdog.start,
            lambda: self._on_broker(0),
        )  # fmt: skip
        contacts = (self._patience.contact, self._leases.contact)
        self._teller = Teller(config.redact)
        self._observers = Observers(realm, broker.url, hello["results"], contacts, beat)
        self._closing.callback(self._observers.close)
        self._selector.register(self._observers.fileno(), selectors.EVENT_READ, self._observers.serve)

    def run(self, on_ready: Callable[[WorkerInfo], None]) -> int:
        """Turn the loop until there is nothing left to do after a signal."""
        with self._signals:
            self._observers.begin()
            if any(spec.time_limit for spec in self.info.tasks.values()):
                self._watchdog.start()
            try:
                while not self._is_done():
                    self._turn()
                    if not self._is_announced and self._crew.is_complete:
                        self._is_announced = True
                        on_ready(self.info)
                        self._observers.start()
            finally:
                self._watchdog.stop()
        is_clean = not self._ended and not self._other
        return 0 if self._signals.heard < 2 and is_clean else 1

    def close(self) -> None:
        """Give back what is held, end the runners, close the connections."""
        self._crew.is_stopping = True
        started = [each.held for each in self._ended if type(each.outcome) is not Released]
        started += [held for runner in self._crew.runners.values() for held in runner.held.values()]
        self._crew.kill()
        self._crew.close()  # before anything is given back: what still runs must not overlap with its next attempt
        self._admission.own_up(started)
        self._closing.close()
        self._selector.close()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._sleep()):
            key.data(events)
        now = time.monotonic()
        if self._signals.heard and self._stop_deadline is None:
            self._begin_to_stop(now)
        if self._stop_deadline is not None:
            self._press(now)
        try:
            self._settle(now)
            self._keep_lease(time.monotonic())
            self._fetch(now)
            if self._quarantine.is_closed and (delivery := self._quarantine.next(is_idle=self._is_idle())):
                self._take_in([delivery], now)
            # By a fresh clock, and again: who was stopped meanwhile must not start what another worker runs by now.
            self._keep_lease(time.monotonic())
        except LeaseLost:
            self._abandon(now)
        self._dispatcher.assign(self._crew.runners.values(), now)
        self._ended += judged(self._to_judge, self._crew.runners.values(), is_stopping=self._stop_deadline is not None)
        self._ended += (
            Ended(held, Released()) for held in self._dispatcher.misplaced(self._crew.runners.values(), now)
        )
        self._crew.tick(now)
        self._observers.tick(now, lambda: not self._may_fetch and self._is_idle())
        listen(self._selector, self._crew.runners.values())

    def _sleep(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        if (self._ended or self._other) and now >= self._patience.not_before:
            return 0.0
        instants = [now + MAX_IDLE, self._leases.next_at]
        looks = (self._crew.next_at(now), self._dispatcher.next_look(self._crew.runners.values()))
        instants += filter(None, (*looks, self._observers.next_at(now)))
        if self._ended or self._other or self._may_fetch:
            can_act = self._room(now) > 0 or self._ended or self._other
            instants.append(max(self._patience.not_before, now) if can_act else now + MAX_IDLE)
        due_at = self._consumer.next_due_at()
        if due_at is not None and self._stop_deadline is None and not self._may_fetch:
            instants.append(now + max(0.0, due_at - self._consumer.now()))
        if self._stop_deadline is not None:
            instants.append(self._stop_deadline)
        return max(0.0, min(instants) - now)

    # --- the broker ----------------------------------------------------------------------------------------------

    def _on_broker(self, _: int) -> None:
        self._consumer.clear()
        self._may_fetch = True

    def _room(self, now: float) -> int:
        if self._stop_deadline is not None or self._quarantine.is_closed or not self._observers.may_fetch(now):
            return 0
        return self._dispatcher.room(self._crew.runners.values(), now)

    def _fetch(self, now: float) -> None:
        due_at = self._consumer.next_due_at()
        if due_at is not None and due_at <= self._consumer.now():
            self._may_fetch = True
        room = self._room(now)
        if not self._may_fetch or room <= 0 or now < self._patience.not_before:
            return
        self._consumer.clear()
        with self._patience.trying_to("fetch", now):
            deliveries = self._consumer.fetch(room)
            self._may_fetch = len(deliveries) >= room
            harmless, given_back = self._quarantine.set_apart(deliveries)
            self._other += given_back
            self._take_in(harmless, now)

    def _take_in(self, deliveries: Sequence[Delivery], now: float) -> None:
        admitted = self._celery.relieved(self._admission.admit(deliveries), self._consumer.now())
        admitted = self._observers.admitted(admitted, now)
        self._ended += admitted.ended
        self._other += admitted.other
        for held in admitted.to_run:
            if held.spec.time_limit is not None:  # a call of Celery's may bring one
                self._watchdog.start()
            self._dispatcher.park(held, now)

    def _is_idle(self) -> bool:
        """Whether this worker holds nothing, but for what is in quarantine."""
        has_work = any(runner.held or runner.judging for runner in self._crew.runners.values())
        has_work = has_work or (self._standing.is_any and bool(self._standing.kept()))
        return not (has_work or self._dispatcher.parked or self._ended or self._other or self._to_judge)

    def _settle(self, now: float) -> None:
        if not (self._ended or self._other) or now < self._patience.not_before:
            return
        ended, other = self._ended, self._other
        wall = self._consumer.now()
        results = [settlement(each, self.name, wall, self.config) for each in ended]
        settlements = [*results, *other]
        with self._patience.trying_to("settle", now):
            extended = self._celery.ends.extend(ended, settlements, wall)
            settlements = [each for each in extended.settlements if each.delivery or each.changes or each.follow_ups]
            stale = self._consumer.settle(settlements, self._record, shared=self._shares)
            self._ended, self._other = [], self._celery.ends.settled(extended, stale)
            if any(map(brings_more, settlements)):
                self._may_fetch = True
            if stale:
                logger.warning("%s: another worker has it by now; nothing was done", counted(len(stale), "task"))
            gone = {delivery.tag for delivery in stale}
            self._teller.tell(ended, gone)
            self._observers.settled(ended, results, gone)

    def _keep_lease(self, now: float) -> None:
        if self._leases.tick(now):
            with self._sweeping.trying_to("sweep", now):
                self._store.sweep(time.time())
                self._celery.desk.sweep(time.time())
            self._leases.rest()
            self._may_fetch = True

    def _abandon(self, now: float) -> None:
        """Everything held belongs to others now: end it here, settle nothing."""
        logger.error("this worker was taken for dead (was it stopped?); dropping its tasks and joining anew")
        self._dispatcher.empty()
        self._standing.empty()
        self._quarantine.give_up()
        self._ended, self._other = [], []
        self._to_judge.clear()
        for runner in self._crew.runners.values():
            for tag in list(runner.held):
                self._dispatcher.release(runner, tag)
            runner.judging.clear()
            runner.is_stopping = True
        self._crew.kill()
        with self._patience.trying_to("join", now):
            self._consumer.rejoin()
            self._may_fetch = True

    # --- the runners ---------------------------------------------------------------------------------------------

    def _watch(self, link: Runner | RunnerServer) -> None:
        heard: Callable[[int], None] = (
            (lambda events: self._on_runner(link, events)) if isinstance(link, Runner) else lambda _: self._on_server()
        )
        self._selector.register(link.link, selectors.EVENT_READ, heard)

    def _unwatch(self, link: Runner | RunnerServer) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link.link)

    def _on_runner(self, runner: Runner, events: int) -> None:
        if runner.number not in self._crew.runners:
            return  # it was mourned earlier in this turn
        if events & selectors.EVENT_WRITE:
            runner.flush()
        if events & selectors.EVENT_READ:
            try:
                self._hear(runner)
            except BlockingIOError:
                pass
            except EOFError:
                self._unwatch(runner)  # the server will say of what it died

    def _hear(self, runner: Runner) -> None:
        for report in runner.receive():
            held = self._dispatcher.release(runner, report.tag)
            if held is not None and not isinstance(report.outcome, Released):
                self._dispatcher.learn(held, report.ran_for)
            elif held is None:
                held = runner.judging.pop(report.tag, None)
            if held is not None:
                self._ended.append(Ended(held, report.outcome, report.started_at, report.ran_for))
        if runner.budget <= 0 and not runner.held:
            self._crew.retire(runner)

    def _on_server(self) -> None:
        departures = list(self._crew.news(time.monotonic()))
        for runner, _ in departures:
            with contextlib.suppress(BlockingIOError, EOFError):
                while True:
                    self._hear(runner)
        is_stopping = self._stop_deadline is not None
        left = estate(departures, self._dispatcher, was_killed=self._is_killing, is_stopping=is_stopping)
        self._ended += left.ended
        self._to_judge += left.to_judge
        for held in left.to_run:
            self._dispatcher.park(held, time.monotonic())
        for runner, how in departures:
            if how and not is_stopping:
                logger.warning("runner %d died of %s", runner.pid, how)
            runner.close()

    # --- stopping ------------------------------------------------------------------------------------------------

    def _begin_to_stop(self, now: float) -> None:
        self._stop_deadline = now + self.config.grace
        self._crew.is_stopping = True
        self._leases.stop_sweeping()
        self._other += self._quarantine.give_up()
        parked = [*self._dispatcher.empty(), *self._standing.empty()]
        self._ended += (Ended(held, Released()) for held in parked)
        running = sum(len(runner.running()) for runner in self._crew.runners.values())
        logger.info(
            "stopping: finishing %s, %g s left; once more to give back what runs and stop now",
            counted(running, "task"),
            self.config.grace,
        )
        for runner in self._crew.runners.values():
            self._crew.retire(runner)

    def _press(self, now: float) -> None:
        """After the grace period, or a second signal: end the runners; what they held goes back at once."""
        assert self._stop_deadline is not None
        if self._is_killing or (now < self._stop_deadline and self._signals.heard < 2):
            return
        self._is_killing = True
        self._stop_deadline = now + AFTER_KILL
        held = sum(len(runner.held) for runner in self._crew.runners.values())
        if held:
            logger.warning("giving back %s that had not finished", counted(held, "task"))
        self._crew.kill()

    def _is_done(self) -> bool:
        if self._stop_deadline is None:
            return False
        has_left = not self._crew.runners or self._crew.server is None
        return (has_left and self._is_idle()) or (self._is_killing and time.monotonic() > self._stop_deadline)
