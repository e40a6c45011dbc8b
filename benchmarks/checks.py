"""Two promises, tested: what is delayed takes no memory of a worker, and a long queue drains as fast as a short one."""

import statistics
from dataclasses import dataclass

import parts
from grounds import Ground

AN_HOUR = 3600.0
SMALL = 10_000
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Delayed:
    """Bytes of a worker, all its processes together, before and after so many tasks were delayed; the broker's too."""

    tasks: int
    before: int
    after: int
    in_broker: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Tasks a second of a worker that drains a short queue, and of one that drains a long one.

    ``short_cpu`` and ``long_cpu``: microseconds of CPU a task, of broker and worker, which other programs change less.
    """

    tasks: int
    short: float
    long: float
    short_cpu: float
    long_cpu: float
    others: float


def delayed(broker: str, ground: Ground, tasks: int) -> Delayed:
    """Delay so many tasks by an hour beside an idle worker, which then does something, and is looked at."""
    with parts.bench(broker, ground, 1.0) as each, each.worker() as worker:
        before, kept = worker.memory(), each.host.held()
        later = each.noop.options(countdown=AN_HOUR)
        with each.app.batch():
            for number in range(tasks):
                later.delay(number)
        done = each.place.counter.total()
        each.send(parts.WARM, parts.WARM)
        each.wait_for(done + parts.WARM, worker.process)
        each.place.settle_down()
        return Delayed(tasks, before, worker.memory(), each.host.held() - kept)


def backlog(broker: str, ground: Ground, tasks: int) -> Backlog:
    """Drain a queue of 10,000, a few times, then one of so many; each from its first tasks done to its last."""
    short = []
    for _ in range(REPEATS):
        with parts.bench(broker, ground, 1.0) as each:
            short.append(parts.drain(each, SMALL))
    with parts.bench(broker, ground, 1.0) as each:
        long = parts.drain(each, tasks)
    rate, cpu = (statistics.median(values) for values in ([each.rate for each in short], [each.cpu for each in short]))
    return Backlog(tasks, rate, long.rate, cpu, long.cpu, long.others)
