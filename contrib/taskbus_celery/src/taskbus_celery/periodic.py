"""``beat_schedule`` as schedules of TaskBus, where it has a scheduler."""

from collections.abc import Mapping
from typing import Any

import taskbus
from taskbus_celery import schedules
from taskbus_celery.exceptions import NotSupported, warn_once
from taskbus_celery.request import text_headers
from taskbus_celery.routing import queue_of

_HONOURED = ("queue", "priority", "expires", "routing_key", "exchange", "headers")


def keep_schedule(app: Any, bus: taskbus.TaskBus) -> None:
    """Give TaskBus the entries of ``beat_schedule``; some were added when ``bus`` was made."""
    for name, entry in dict(app.conf.beat_schedule or {}).items():
        keep_entry(app, bus, name, entry)


def keep_entry(app: Any, bus: taskbus.TaskBus, name: str, entry: Mapping[str, Any]) -> None:
    """Give TaskBus one entry. Its beat sends a missed run once, and may run any number of times."""
    declare = getattr(bus, "schedule", None)
    if declare is None:
        warn_once(
            f"beat_schedule has no effect: this TaskBus has no scheduler. Send {name!r} from cron, by taskbus call"
        )
        return
    given = dict(entry.get("options") or {})
    for option in given.keys() - {*_HONOURED, "task_id"}:
        warn_once(f"beat_schedule[{name!r}]: the option {option!r} has no effect here")
    task = entry["task"]
    options = app.routes.options(task, entry.get("args") or (), entry.get("kwargs") or {}, **given)
    callee = app.callee(task)
    call = callee.si(*(entry.get("args") or ()), **(entry.get("kwargs") or {})).options(
        queue=queue_of(options) or callee.queue, priority=options.get("priority"), expires=options.get("expires"),
        headers=text_headers(options.get("headers") or {}) or None,
    )  # fmt: skip
    declare(name, call, timetable_of(entry["schedule"], str(app.conf.timezone or "UTC")))


def timetable_of(given: Any, zone: str) -> Any:
    """A timetable of TaskBus of a schedule as Celery writes it; ``zone`` is that of crontabs.

    Raises ``NotSupported`` for what is none.
    """
    found = schedules.maybe_schedule(given)
    kinds: Any = taskbus
    if isinstance(found, schedules.schedule):
        return kinds.every(found.seconds)
    if isinstance(found, schedules.crontab):
        return kinds.cron(found.expression, tz=zone)
    if isinstance(found, schedules.solar):
        return kinds.solar(found.event, latitude=found.lat, longitude=found.lon)
    raise NotSupported(f"schedule {given!r}: give seconds, a timedelta, crontab, schedule or solar")
