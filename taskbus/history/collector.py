"""Follows what processes report: once a second into the live picture, and into the history."""

from taskbus.clock import Clock, wall_clock
from taskbus.history.history import History
from taskbus.history.shapes import LiveSnapshot, Series
from taskbus.store.reports import ReportStore


class Collector:
    """Reads ``reports`` and merges it into ``history``, whether a page is open or not, from ``start`` to ``stop``.

    It may be killed at any time, and several may run at once. A store that fails is tried again; why is in
    ``snapshot().error``.
    """

    def __init__(self, history: History, reports: ReportStore, clock: Clock = wall_clock) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Collect in a thread of its own from now on."""
        raise NotImplementedError

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, after what it is at; it may be started again."""
        raise NotImplementedError

    def turn(self) -> None:
        """What the thread does once a second. Raises ``StoreError``."""
        raise NotImplementedError

    def watch(self, seconds: float = 10.0) -> None:
        """A page is open: have every process report each second for so long. Cheap to call again and again."""
        raise NotImplementedError

    def snapshot(self) -> LiveSnapshot:
        """What is now: the same object until the next turn, made once a second however many look at it."""
        raise NotImplementedError

    def wait(self, known: LiveSnapshot | None, timeout: float) -> LiveSnapshot:
        """The next snapshot that is not ``known``; after ``timeout`` seconds the present one all the same."""
        raise NotImplementedError

    def series(self, range: str, *, task: str | None = None, queue: str | None = None) -> Series:
        """As ``History.series``; of all tasks over 15m in steps of ten seconds, from memory where that reaches."""
        raise NotImplementedError

    def seconds(self, *, task: str | None = None, queue: str | None = None, last: int = 900) -> Series:
        """The newest seconds, 900 at most, from memory: rates alone, the quantiles being None."""
        raise NotImplementedError
