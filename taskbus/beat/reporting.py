"""What a beat says of itself: that it is there, whether it leads, and how much it has sent."""

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from taskbus import __version__
from taskbus.beat.beat import Beat
from taskbus.clock import wall_clock
from taskbus.config import Config
from taskbus.monitor.naming import node_name
from taskbus.monitor.report import NodeState
from taskbus.monitor.reporting import Reporting
from taskbus.monitor.resources import cpu_of, resident
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Answer, Inbox, Report


class BeatSource:
    """See ``monitor.reporting.Source``. A beat takes no orders: what it sends is said by its schedules."""

    def __init__(self, beat: Beat, app: str, http: Callable[[], str]) -> None:
        self._beat = beat
        self._app = app
        self._http = http
        self._started_at = time.time()
        self._name = node_name(f"beat-{os.getpid()}")
        self._was_leading = False

    def state(self) -> NodeState:
        pid = os.getpid()
        return NodeState(
            kind="beat",
            name=self._name,
            host=socket.gethostname(),
            pid=pid,
            version=__version__,
            app=self._app,
            started_at=self._started_at,
            rss=resident(pid) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            cpu=cpu_of([pid]),
            load=os.getloadavg()[0],
            http=self._http(),
            is_leader=self._beat.is_leading,
            sent=sum(self._beat.sent.copy().values()),
        )

    def is_busy(self) -> bool:
        before, self._was_leading = self._was_leading, self._beat.is_leading
        return before != self._was_leading

    def minutes(self) -> Mapping[int, bytes]:
        return {}

    def records(self) -> bytes:
        return b""

    def answers(self) -> Sequence[Answer]:
        return ()

    def posted(self, report: Report, answers: Sequence[Answer]) -> None:
        pass

    def heard(self, inbox: Inbox, *, is_first: bool) -> None:
        pass

    def unheard(self, error: Exception) -> None:
        pass


@contextmanager
def reported(beat: Beat, results: str, config: Config, app: str, http: Callable[[], str] = str) -> Iterator[None]:
    """Report of a beat to the store at ``results`` while the block is, unless that is switched off.

    ``http``: where its metrics and probes are, "" if nowhere.
    """
    if not config.reports:
        yield
        return
    source = BeatSource(beat, app, http)
    reporting = Reporting(node_name(f"beat-{os.getpid()}"), lambda: open_reports(results, wall_clock), source)
    reporting.start()
    try:
        yield
    finally:
        reporting.close()
