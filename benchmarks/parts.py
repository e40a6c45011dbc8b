"""Measures the parts of a task's way one by one, each alone, and then the whole way with all of them at once."""

import os
import select
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import probes
from field import Field
from figures import family
from grounds import Ground
from model import LARGEST_CLAIM, Costs, Step, Steps, fit, turned
from probes import Host
from rounds import field

from taskbus import Task, TaskBus
from taskbus.broker.delivery import Settlement

BATCHES = (1, 10, 100)
TASKS = {1: 4_000, 10: 10_000, 100: 30_000}
"""Tasks for a measurement at each size of batch."""
DRAINED = 30_000
CALLS = 1_000
PIECES = 8
WARM = 200
POLL = 0.0005
LANES = {"redis": (1, 1), "rabbitmq": (1, 1), "postgresql": (2, 8), "mysql": (2, 8), "sqlite": (0, 0)}
"""Cores that one queue can use, here and at most: Redis runs scripts on one; the tests' RabbitMQ has one scheduler; in
PostgreSQL each client has a process of its own, in MySQL a thread, and eight cores are planned for; SQLite is in its
clients."""


class Bench:
    """One broker's place, with a producer (this process), a count of what was done, and worker processes at will."""

    def __init__(self, broker: str, ground: Ground, place: Field, share: float) -> None:
        self.broker = broker
        self.share = share
        self.url = place.environment["PEER_URL"] or f"sqlite:///{place.folder}/taskbus.db"
        results = f"sqlite:///{place.folder}/results.db" if broker == "rabbitmq" else self.url
        place.environment["PEER_RESULTS_URL"] = results
        self.place = place
        self.host = Host(broker, ground, place.folder)
        self._results = results
        self.app, self.noop = self.application()
        self._never = threading.Event()

    def application(self, **settings: Any) -> tuple[TaskBus, Task[[int], int]]:
        """An application on this place, as a program that sends would make it."""
        app = TaskBus("bench", broker=self.url, results=self._results, store_results=False, **settings)

        @app.task(name="noop")
        def noop(number: int) -> int:
            return number

        return app, noop

    def tasks(self, batch: int) -> int:
        """How many to measure with at this size of batch."""
        return max(8 * batch, int(TASKS[batch] * self.share))

    def send(self, tasks: int, batch: int) -> None:
        """Publish so many, ``batch`` in a round trip; 1: with ``delay``, as programs do."""
        delay = self.noop.delay
        if batch == 1:
            for number in range(tasks):
                delay(number)
            return
        with self.app.batch(batch):
            for number in range(tasks):
                delay(number)

    def wait_for(self, total: int, worker: Any = None, patience: float = 60.0) -> None:
        """Return when so many tasks were done in all."""
        last, moved_at = -1, time.monotonic()
        while (now := self.place.counter.total()) < total:
            if now != last:
                last, moved_at = now, time.monotonic()
            if time.monotonic() - moved_at > patience or (worker is not None and worker.poll() is not None):
                raise RuntimeError(f"{self.broker}: the worker stopped at {now} of {total} tasks")
            self._never.wait(POLL)

    @contextmanager
    def worker(self) -> Iterator["Worker"]:
        """A worker with one runner, which has done its first tasks."""
        with self.place.worker(1) as process:
            worker = Worker(self, process)
            self.send(WARM, WARM)
            self.wait_for(self.place.counter.total() + 1, process)
            while self.app.broker.peek("default", 1):
                self._never.wait(POLL)
            self.place.settle_down()
            yield worker


class Worker:
    """A running ``taskbus worker``: its supervisor, and what is below it."""

    def __init__(self, bench: Bench, process: Any) -> None:
        self._bench = bench
        self.process = process

    def supervisor(self) -> float:
        """Seconds of CPU."""
        return probes.cpu([self.process.pid])

    def runner(self) -> float:
        """Seconds of CPU, of the runners' server too."""
        return probes.cpu(family(self.process.pid)[1:])

    def connections(self) -> int:
        return probes.connections(family(self.process.pid), self._bench.host.port)

    def memory(self) -> int:
        """Bytes, all its processes together."""
        return probes.memory(family(self.process.pid))


@contextmanager
def bench(broker: str, ground: Ground, share: float) -> Iterator[Bench]:
    """An empty place of a broker. ``share``: of the usual number of tasks."""
    with field(ground, "taskbus", results=False) as place:
        made = Bench(broker, ground, place, share)
        with made.app:
            made.noop.delay(0)  # opens what is opened once
            made.app.broker.purge("default")
            yield made


def measure(broker: str, ground: Ground, share: float) -> Costs:
    """Every cost of the model, each part measured with the others at rest."""
    with bench(broker, ground, share) as each:
        publish = Steps(tuple(_publish(each, batch) for batch in BATCHES))
        take = Steps(tuple(_take(each, batch) for batch in BATCHES))
    with bench(broker, ground, share) as each:
        held, remembered = _held(each)
    with bench(broker, ground, share) as each:
        drained = drain(each)
        single = _single(each)
    supervisor = fit([(1, single.supervisor), (drained.turn, drained.supervisor)])
    runner = fit([(1, single.runner), (drained.turn, drained.runner)])
    wake = max(0.0, single.broker - publish.line("broker").at(1) - take.line("broker").at(1))
    return Costs(publish, take, supervisor, runner, wake, held, remembered, single.connections, *LANES[broker])


def _measured(each: Bench, tasks: int, act: Callable[[int], int]) -> Step:
    """What one kind of step costs; ``act`` does it for so many tasks, and returns in how many batches.

    The client's times are of several pieces, the quicker ones: a machine has other things to do, too.
    """
    clients, walls, batches, done = [], [], 0, 0
    written = each.host.written()
    told, broker = probes.traffic(each.host.port), each.host.cpu()
    for _ in range(PIECES):
        client, since = time.process_time(), time.perf_counter()
        batches += act(tasks // PIECES)
        walls.append((time.perf_counter() - since) / (tasks // PIECES))
        clients.append((time.process_time() - client) / (tasks // PIECES))
        done += tasks // PIECES
    broker, passed = each.host.cpu() - broker, probes.traffic(each.host.port) - told
    return Step(
        batch=done / batches,
        client=statistics.median(clients) * 1e6,
        broker=broker / done * 1e6,
        wall=statistics.quantiles(walls)[0] * 1e6,
        round_trips=passed.round_trips / done,
        network=(passed.sent + passed.received) / done,
        written=max(0, each.host.written() - written) / done,
    )


def _publish(each: Bench, batch: int) -> Step:
    tasks = each.tasks(batch)

    def act(count: int) -> int:
        each.send(count, batch)
        return -(-count // batch)

    step = _measured(each, tasks, act)
    each.app.broker.purge("default")
    return step


def _take(each: Bench, batch: int) -> Step:
    """Claiming and settling, by a consumer in this process: a worker's share of the broker, and no worker."""
    tasks = each.tasks(batch)
    each.send(tasks + batch, 1000)
    consumer = each.app.broker.consumer(["default"], name="capacity", lease=60)

    def turn(limit: int) -> int:
        consumer.clear()
        deliveries = consumer.fetch(limit)
        if not deliveries:
            select.select([consumer], [], [], 1)
            return 0
        consumer.settle([Settlement(delivery) for delivery in deliveries], None, shared=False)
        return len(deliveries)

    def act(count: int) -> int:
        done = turns = 0
        while done < count:
            taken = turn(min(batch, count - done))
            done, turns = done + taken, turns + (taken > 0)
        return turns

    while not turn(batch):
        pass
    try:
        return _measured(each, tasks, act)
    finally:
        consumer.close()
        each.app.broker.purge("default")


def _held(each: Bench) -> tuple[float, float]:
    """Bytes that a queued task takes in the broker, and a remembered task id; in a place where nothing was before."""
    tasks = each.tasks(100)
    forgetful, noop = each.application(dedup_window=0)
    with forgetful:
        noop.delay(0)
        before = each.host.held()
        with forgetful.batch():
            for number in range(tasks):
                noop.delay(number)
        held = (each.host.held() - before) / tasks
    before = each.host.held()
    each.send(tasks, 1000)
    both = (each.host.held() - before) / tasks
    each.app.broker.purge("default")
    return held, max(0.0, both - held) if each.app.broker.features.dedup else 0.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What a real worker did: tasks a second, and CPU a task of its parts and of the broker, in microseconds.

    ``turn``: tasks that shared a turn of the worker; 0: not known. ``others``: cores that programs outside of this
    measurement used meanwhile.
    """

    rate: float
    supervisor: float
    runner: float
    broker: float
    producer: float
    turn: float
    connections: int
    others: float

    @property
    def cpu(self) -> float:
        """Microseconds of CPU a task, of all parts."""
        return self.supervisor + self.runner + self.broker + self.producer


def _worked(each: Bench, worker: Worker, tasks: int, act: Callable[[], float], turn: float) -> Worked:
    """Costs of ``tasks`` while ``act`` runs, which returns the seconds of CPU that the producer took in it."""
    watcher = probes.cpu([os.getpid()])
    before = worker.supervisor(), worker.runner(), each.host.cpu()
    busy, since = probes.busy(), time.perf_counter()
    producer = act()
    seconds, busy = time.perf_counter() - since, probes.busy() - busy
    after = worker.supervisor(), worker.runner(), each.host.cpu()
    spent = [last - first for first, last in zip(before, after, strict=True)]
    ours = sum(spent) + probes.cpu([os.getpid()]) - watcher
    supervisor, runner, broker = (each / tasks * 1e6 for each in spent)
    return Worked(
        rate=tasks / seconds,
        supervisor=supervisor,
        runner=runner,
        broker=broker,
        producer=producer / tasks * 1e6,
        turn=turn,
        connections=worker.connections(),
        others=max(0.0, (busy - ours) / seconds),
    )


def drain(each: Bench, tasks: int = 0) -> Worked:
    """A worker empties a queue that was filled before; from the first tasks done to the last."""
    tasks = tasks or max(3_000, int(DRAINED * each.share))
    done = each.place.counter.total()
    first = min(2_000, tasks // 4)
    each.send(tasks, 1000)
    with each.place.worker(1) as process:
        worker = Worker(each, process)
        each.wait_for(done + first, process)
        seen = each.place.counter.total() - done

        def act() -> float:
            each.wait_for(done + tasks, process)
            return 0.0

        return _worked(each, worker, tasks - seen, act, turned(LARGEST_CLAIM))


def _single(each: Bench) -> Worked:
    """Two tasks under way at any time: the worker settles one and claims one in each turn, so every batch is one."""
    calls = max(200, int(CALLS * each.share))
    with each.worker() as worker:

        def act() -> float:
            done = each.place.counter.total()
            for number in range(calls):
                each.noop.delay(0)
                each.wait_for(done + number, worker.process)
            return 0.0

        return _worked(each, worker, calls, act, 1)


def together(broker: str, ground: Ground, batch: int, share: float) -> Worked:
    """Producer and worker at once, the producer as fast as it can: from the first send to the last task done."""
    with bench(broker, ground, share) as each, each.worker() as worker:
        tasks, done = each.tasks(batch), each.place.counter.total()

        def act() -> float:
            since = time.process_time()
            each.send(tasks, batch)
            producer = time.process_time() - since
            each.wait_for(done + tasks, worker.process)
            return producer

        return _worked(each, worker, tasks, act, 0)
