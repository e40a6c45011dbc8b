"""From a URL to a store of reports: in the database of the result store of the same URL."""

from importlib import import_module

from taskbus.clock import Clock, wall_clock
from taskbus.store.opening import opened
from taskbus.store.reports import ReportStore

MODULES = {
    "taskbus.store.memory": "taskbus.store.memory_reports",
    "taskbus.store.sql": "taskbus.store.sql_reports",
    "taskbus.store.redis": "taskbus.store.redis_reports",
}
"""By the module of the result store."""


def open_reports(url: str, clock: Clock = wall_clock) -> ReportStore:
    """The reports at ``url``; as ``open_store``, and raising what that raises.

    ``clock`` says which orders are over; where it is ``wall_clock`` and there is a server, the server's own does.
    """
    found: ReportStore = opened(url, lambda module: import_module(MODULES[module]).open_url(url, clock))
    return found
