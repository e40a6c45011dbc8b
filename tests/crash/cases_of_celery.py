"""The named cases of a mixed fleet: Celery sends to queues that it shares with TaskBus's workers, and things die.

What TaskBus has been given is held to the same promises as its own messages. What Celery itself loses is named as
Celery's: what its worker had acknowledged before it ran it, and what its producer never heard to be accepted.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from . import celery_side
from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import BACK_WITHIN, DURABLE_REDIS, WRITTEN_DOWN_WITHIN, lasts
from .checker import Verdict
from .harness import Cell
from .homes import new_name
from .ledger import now
from .place import Place
from .registry import Cases
from .victim import Worker

case = Cases(("redis", "rabbitmq"))
PATIENT = replace(RULES, slack=BACK_WITHIN, runner_death=BACK_WITHIN)
"""How soon what was interrupted runs again is for other cases to say: here a second worker has to start first."""
FORKS = ("dup", "extra_start", "overlap", "stale_accepted")
"""What the checker says of one message that has become two."""


class MixedCell(Cell):
    """A cell whose tasks Celery sends, to a queue that both share."""

    def __init__(self, place: Place, rules: Any = None) -> None:
        self.queue = new_name()
        super().__init__(place, rules, shared=(self.queue,))
        self.broker_url = place.broker.url().partition("?")[0]  # Celery knows no prefix
        self.celery = celery_side.made(self.broker_url)

    def __exit__(self, *why: Any) -> None:
        self.celery.close()
        super().__exit__(*why)

    def celery_sends(self, task: str, *args: Any, count: int = 1, **options: Any) -> list[str]:
        """Send ``count`` tasks by Celery from this process; returns the harness's ids."""
        ids = [self.new_id() for _ in range(count)]
        for id in ids:
            celery_side.send(self.celery, self.ledger, self.queue, task, id, *args, **options)
        return ids

    def our_worker(self, **options: Any) -> Worker:
        """A worker of TaskBus's on the shared queue."""
        return self.worker(queues=[self.queue], **options)

    @contextmanager
    def celery_worker(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A worker of Celery's on the shared queue, killed at the end if it is still there."""
        command = [sys.executable, "-m", "celery", "-A", "crash.celery_side", "worker", "-Q", self.queue, "-P", "solo"]
        quietly = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
        with (self.folder / "celery.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *quietly],
                env={**self.environment(), celery_side.BROKER: self.broker_url},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()


@case("77", "Celery sends, and with a worker of ours all its processes are killed in the middle of bodies (as in 3)")
def killed_group(place: Place) -> Verdict:
    with MixedCell(place, PATIENT) as cell:
        cell.celery_sends("hold", GATE, count=2)
        cell.celery_sends("ahold", GATE, count=8)
        worker = cell.our_worker()
        running(cell, 6)
        cell.strike(worker, "kill9")
        cell.our_worker()
        cell.open(GATE)
        return cell.finish()


@case("77b", "Celery sends, and runners of ours are killed by its tasks")
def killed_runners(place: Place) -> Verdict:
    with MixedCell(place, PATIENT) as cell:
        cell.celery_sends("suicide", count=3)
        cell.celery_sends("flaky", count=3)
        cell.celery_sends("quick", count=10)
        cell.celery_sends("quick", countdown=1.0, count=3)
        worker = cell.our_worker()
        cell.until(lambda: len(cell.faults()) == 3, "three runners to die")
        cell.until(is_complete(worker), "the pool to be back to its size", 10.0)
        verdict = cell.finish()
        assert verdict.reruns == 3, verdict
        return verdict


@case("77c", "Celery sends, and a worker of ours is stopped for longer than its lease and goes on (as in 8)")
def stopped_worker(place: Place) -> Verdict:
    with MixedCell(place, PATIENT) as cell:
        ids = cell.celery_sends("hold", GATE, count=2)
        first = cell.our_worker()
        running(cell, 2)
        cell.strike(first, "stop")
        second = cell.our_worker()
        if place.kind == "redis":
            cell.until(lambda: len(cell.of("start", *ids)) == 4, "the other worker to run them too", 10.0)
        cell.wake_after(1.5 * cell.rules.lease)
        cell.until(lambda: not cell.is_healing, "the first worker to go on")
        cell.open(GATE)
        verdict = cell.finish()
        assert second.process.returncode == 0
        return verdict


@case("77d", "Celery sends while the broker is killed and started again, twice (as in 22)")
def killed_broker(place: Place) -> Verdict:
    """A queue as Celery declares it on RabbitMQ is classic and counts no losses: a message that comes again is sent on
    as a copy which says so. What the broker had when it died may thus become two; nothing else may.
    """
    in_hand: set[str] = set()
    options = {"options": DURABLE_REDIS} if place.kind == "redis" else {}
    with place.alone(**options) as (place, server), MixedCell(place, PATIENT) as cell:
        worker = cell.our_worker()
        cell.celery_sends("hold", GATE)
        running(cell, 1)
        for _ in range(2):
            if place.kind == "rabbitmq":
                lasts(cell, WRITTEN_DOWN_WITHIN)
            cell.celery_sends("brief", 0.1, count=4)
            cell.celery_sends("flaky", count=2)
            in_hand |= {event["id"] for event in cell.of("pub_ok")} - {event["id"] for event in cell.of("end")}
            with cell.outage("kill"):
                server.kill()
                cell.celery_sends("quick")  # what becomes of it is known to nobody: Celery tries again, and gives up
                server.start()
            _back_at_work(cell, worker)
        cell.open(GATE)
        verdict = cell.finish()
        if place.kind == "redis":
            return verdict
        forked = {name: ids for name, ids in verdict.violations.items() if name in FORKS}
        is_known = set().union(*forked.values()) <= in_hand
        return replace(verdict, valid=is_known and forked.keys() == verdict.violations.keys())


def _back_at_work(cell: MixedCell, worker: Worker) -> None:
    """See a task that Celery sends now come to its end in time, by a worker that still lives."""
    (id,) = cell.celery_sends("quick")
    since = now()
    while id not in {event["id"] for event in cell.of("pub_ok")} and now() - since < BACK_WITHIN:
        (id,) = cell.celery_sends("quick")
    cell.until(partial(cell.of, "end", id), f"a task sent after the fault to end; {id}", BACK_WITHIN)
    assert worker.is_alive


@case("77e", "a worker of Celery's is killed beside ours: nothing is lost to us but what it held itself, if anything")
def killed_celery_worker(place: Place) -> Verdict:
    """RabbitMQ gives back what it held. On Redis that waits under Celery's keys for a worker of Celery's and the end of
    its visibility timeout, an hour: that is Celery's, and no worker of ours may take it.
    """
    with MixedCell(place, PATIENT) as cell:
        (held,) = cell.celery_sends("hold", GATE)
        with cell.celery_worker() as process:
            running(cell, 1, held)
            cell.celery_sends("quick", count=5)
            worker = cell.our_worker()
            cell.until(is_complete(worker), "the worker of ours")
            cell.ledger.log("nem", fault="kill", on=True, action="kill9", victim="group", worker=process.pid,
                            pids=[process.pid])  # fmt: skip
            process.kill()
            process.wait()
        cell.open(GATE)
        if place.kind == "rabbitmq":
            verdict = cell.finish()
            assert verdict.reruns == 1, verdict
            return verdict
        verdict = cell.finish(10.0)
        assert set(verdict.violations) == {"gone"} and set(verdict.gone) == {held}, verdict.violations
        return replace(verdict, valid=True)
