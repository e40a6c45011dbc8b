"""Doctor's checks of settings, application, workers and queues."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from taskbus.app import TaskBus
from taskbus.cli.finding import Finding, Level
from taskbus.cli.phrase import ago, count, span
from taskbus.cli.place_checks import is_ours
from taskbus.errors import TaskBusError
from taskbus.store.base import Filter

LONG_WAIT = 300.0
CLOCK_TOLERANCE = 5.0
EARLIEST = 1_760_000_000.0
"""No clock that is right shows a time before this: TaskBus did not exist yet (October 2025)."""


def check_settings(settings: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Finding]:
    """Which settings are not at their default, and who says so."""
    changed = [f"{name}={settings[name]} ({origin})" for name, origin in origins.items() if origin != "default"]
    yield Finding(Level.OK, "settings", ", ".join(changed) or "all at their defaults")
    if time.time() < EARLIEST:
        yield Finding(Level.ERROR, "clock", f"this machine's clock shows {time.ctime()}", "set it, for example by NTP")


def check_app(app: TaskBus, path: str) -> Iterator[Finding]:
    """What the application defines."""
    if not app.tasks:
        hint = "import the modules that define them in the app's module, or name them in app.include()"
        yield Finding(Level.WARNING, "app", f"{path} was imported, and has no tasks", hint)
        return
    queues = sorted({task.queue for task in app.tasks.values()})
    queue_text = f"{count(len(queues), 'queue')} ({', '.join(queues)})"
    yield Finding(Level.OK, "app", f"{path} has {count(len(app.tasks), 'task')} in {queue_text}")


def check_work(app: TaskBus, is_theirs: bool) -> Iterator[Finding]:
    """Workers, queues and dead letters as they are now."""
    try:
        yield from _check_workers(app)
        yield from _check_queues(app, is_theirs)
        dead = app.store.count_dead_letters(Filter()) if is_ours(app.results_url) else 0
        if dead:
            hint = "taskbus dlq groups says why, taskbus dlq replay sends them again"
            yield Finding(Level.WARNING, "dead letters", f"{count(dead, 'dead letter')}", hint)
        else:
            yield Finding(Level.OK, "dead letters", "none")
    except TaskBusError as error:
        yield Finding(Level.ERROR, "broker", str(error))


def _check_workers(app: TaskBus) -> Iterator[Finding]:
    now = app.now()
    workers = app.broker.workers()
    alive = [worker for worker in workers if worker.lease_until > now]
    if alive:
        names = ", ".join(worker.name for worker in alive[:5])
        yield Finding(
            Level.OK, "workers", f"{count(len(alive), 'worker')} alive: {names}{', ...' if alive[5:] else ''}"
        )
    else:
        yield Finding(Level.WARNING, "workers", "none is alive", "start one: taskbus worker -A module:app")
    for worker in workers:
        if worker.lease_until <= now:
            text = f"{worker.name} (pid {worker.pid}) died {ago(worker.lease_until, now)}, holding {worker.in_flight:,}"
            yield Finding(Level.WARNING, "workers", text, "any living worker gives its tasks back within seconds")
        if worker.started_at > now + CLOCK_TOLERANCE:
            text = (
                f"{worker.name} started in the future, {span(worker.started_at - now)} from now by the broker's clock"
            )
            yield Finding(Level.WARNING, "clock", text, "leases need clocks that agree: run NTP on both machines")


def _check_queues(app: TaskBus, is_theirs: bool) -> Iterator[Finding]:
    now = app.now()
    consumed = {queue for worker in app.broker.workers() if worker.lease_until > now for queue in worker.queues}
    sizes = app.broker.queues()
    waiting = sum(size.ready for size in sizes)
    yield Finding(Level.OK, "queues", f"{count(len(sizes), 'queue')}, {count(waiting, 'message')} ready")
    needed = {task.queue: name for name, task in sorted(app.tasks.items())} if is_theirs else {}
    for size in sizes:
        if size.ready and size.name not in consumed:
            needed.pop(size.name, None)
            text = f"{count(size.ready, 'message')} in queue {size.name!r}, which no living worker consumes"
            yield Finding(Level.WARNING, "queues", text, f"taskbus worker -A module:app -Q {size.name}")
        elif size.ready and size.oldest_at and now - size.oldest_at > LONG_WAIT:
            text = f"the oldest message of queue {size.name!r} was sent {ago(size.oldest_at, now)}"
            yield Finding(Level.WARNING, "queues", text, "more workers, more slots, or shorter tasks")
    for queue, task in needed.items():
        if consumed and queue not in consumed:
            text = f"task {task!r} goes to queue {queue!r}, which no living worker consumes"
            yield Finding(Level.WARNING, "queues", text, f"taskbus worker -A module:app -Q {queue}")
