"""From a URL to a store of schedules: in the database of the result store of the same URL."""

from importlib import import_module

from taskbus.clock import Clock, wall_clock
from taskbus.store.opening import opened
from taskbus.store.schedules import ScheduleStore

MODULES = {
    "taskbus.store.memory": "taskbus.store.memory_schedules",
    "taskbus.store.sql": "taskbus.store.sql_schedules",
    "taskbus.store.redis": "taskbus.store.redis_schedules",
}
"""By the module of the result store."""


def open_schedules(url: str, clock: Clock = wall_clock) -> ScheduleStore:
    """The schedules at ``url``; as ``open_store``, and raising what that raises."""
    found: ScheduleStore = opened(url, lambda module: import_module(MODULES[module]).open_url(url, clock))
    return found
