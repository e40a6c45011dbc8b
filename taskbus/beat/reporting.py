"""What a beat says of itself: that it is there, whether it leads, and how much it has sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskbus.beat.beat import Beat
from taskbus.clock import wall_clock
from taskbus.config import Config
from taskbus.monitor.report import NodeState
from taskbus.monitor.reporting import Reporting, Witness
from taskbus.store.report_opening import open_reports


class BeatSource(Witness):
    """See ``monitor.reporting.Source``. A beat takes no orders: what it sends is said by its schedules."""

    def __init__(self, beat: Beat, app: str, http: Callable[[], str]) -> None:
        super().__init__("beat", app, http)
        self._beat = beat
        self._was_leading = False

    def state(self) -> NodeState:
        beat = self._beat
        return super().state()._replace(is_leader=beat.is_leading, sent=sum(beat.sent.copy().values()))

    def is_busy(self) -> bool:
        before, self._was_leading = self._was_leading, self._beat.is_leading
        return before != self._was_leading


@contextmanager
def reported(beat: Beat, results: str, config: Config, app: str, http: Callable[[], str] = str) -> Iterator[None]:
    """Report of a beat to the store at ``results`` while the block is, unless that is switched off.

    ``http``: where its metrics and probes are, "" if nowhere.
    """
    if not config.reports:
        yield
        return
    source = BeatSource(beat, app, http)
    reporting = Reporting(source.name, lambda: open_reports(results, wall_clock), source)
    reporting.start()
    try:
        yield
    finally:
        reporting.close()
