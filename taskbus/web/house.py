"""What handlers are given: the parts of the application, and who asks.

A handler runs in a thread of the server's, so it may wait for a database or a broker; never in the event loop.
"""

from dataclasses import dataclass, field
from typing import Any

from taskbus.app import TaskBus
from taskbus.beat.book import Schedules
from taskbus.broker.broker import Broker
from taskbus.clock import Clock
from taskbus.history.collector import Collector
from taskbus.history.history import History
from taskbus.history.shapes import LiveSnapshot
from taskbus.steering.jobs import Jobs
from taskbus.store.base import Store
from taskbus.store.reports import ReportStore
from taskbus.web.aside import Aside
from taskbus.web.gauges import Gauges
from taskbus.web.identity import User
from taskbus.web.late_history import LateHistory
from taskbus.web.problems import NOTHING, Seen


@dataclass(slots=True)
class House:
    """One web server's parts, for any thread.

    What they ask of servers goes through breakers: one that hangs is not waited for again and again.

    ``app`` is the user's application if ``knows_code``; else one made of URLs alone, which has no tasks and declares no
    schedules: then task names are those that workers report. ``history`` and ``collector`` are None while no history
    can be kept, and ``late`` tries to open it; ``history_url`` is where it is. ``environment`` is a word for the page's
    badge.
    """

    app: TaskBus
    reports: ReportStore
    history: History | None = None
    collector: Collector | None = None
    jobs: Jobs = field(default_factory=Jobs)
    gauges: Gauges = field(init=False)
    history_url: str = ""
    knows_code: bool = False
    read_only: bool = False
    environment: str = ""
    late: LateHistory | None = None
    aside: Aside = field(default_factory=Aside)

    def __post_init__(self) -> None:
        self.gauges = Gauges(self.app, self.reports)

    def keep(self, history: History) -> None:
        """Have this history from now on, and collect into it."""
        self.history = self.jobs.history = history
        self.collector = Collector(history, self.reports, self.clock)
        self.collector.start()

    @property
    def history_error(self) -> str:
        """Why there is no history, "" if there is one."""
        if self.history is not None:
            return ""
        return f"it cannot be opened, which is tried again: {self.late.told}" if self.late else "there is none"

    @property
    def snapshot(self) -> LiveSnapshot | None:
        """The live picture of the moment; None while nobody collects."""
        return self.collector.snapshot() if self.collector is not None else None

    def seen(self) -> Seen:
        """All that is known of the moment."""
        nothing = NOTHING._replace(error=f"no history, so no reports are read: {self.history_error}")
        return Seen(self.clock(), self.snapshot or nothing, self.gauges.read())

    @property
    def broker(self) -> Broker:
        """The broker. Raises ``BrokerError`` where it cannot be opened."""
        return self.app.broker

    @property
    def store(self) -> Store:
        """Results and dead letters. Raises ``StoreError`` where it cannot be opened."""
        return self.app.store

    @property
    def schedules(self) -> Schedules:
        """Schedules of the code, and of the store."""
        return self.app.schedules

    @property
    def clock(self) -> Clock:
        """This process's clock."""
        return self.app.clock


@dataclass(slots=True)
class Visit:
    """One request: whose it is, and what its audit entry is to say besides what the request says itself.

    ``address`` is where it came from. Every changing request has an entry; ``note`` makes it more exact.
    """

    house: House
    user: User
    address: str = ""
    noted: dict[str, Any] = field(default_factory=dict)

    def note(self, *, target: str | None = None, detail: str | None = None, count: int | None = None) -> None:
        """Say in the audit entry what was changed, with what, and how many; what is None stays as it is."""
        given = {"target": target, "detail": detail, "count": count}
        self.noted.update({name: value for name, value in given.items() if value is not None})
