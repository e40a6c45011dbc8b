"""What a web server runs besides answering: it follows reports, keeps the history, and reports that it is there."""

import threading

from taskbus.app import TaskBus
from taskbus.database.urls import redacted
from taskbus.errors import StoreError
from taskbus.history.history import History
from taskbus.history.opening import history_url, open_configured
from taskbus.monitor.reporting import Reporting, Witness
from taskbus.steering.jobs import Jobs
from taskbus.store.report_opening import open_reports
from taskbus.web.breaker import Breakers
from taskbus.web.house import House
from taskbus.web.late_history import LateHistory
from taskbus.web.shielded import shielded


class Engine:
    """The parts of one server, from the first ``house()`` to ``stop``; for any thread.

    ``is_read_only``: nothing may be changed. ``http``: where the server is, if it knows. Making one opens nothing.
    """

    def __init__(self, app: TaskBus, *, knows_code: bool, is_read_only: bool, http: str = "") -> None:
        self.app = app
        self._knows_code, self._is_read_only, self._http = knows_code, is_read_only, http
        self._lock = threading.Lock()
        self._breakers = Breakers()
        self._house: House | None = None
        self._reporting: Reporting | None = None
        self._late: LateHistory | None = None

    def house(self) -> House:
        """The parts, which are opened and started when this is first called.

        A history that cannot be opened is told of, and done without until it can be. Raises ``StoreError`` or
        ``ConfigError`` if reports cannot be read: then nothing is started, and the next call tries again.
        """
        with self._lock:
            if self._house is None:
                self._house = self._start()
            return self._house

    @property
    def is_running(self) -> bool:
        """Whether it has started, and was not stopped."""
        return self._house is not None

    def stop(self) -> None:
        """End all threads in good order: what is being done is finished, jobs after the step they are in."""
        with self._lock:
            house, self._house = self._house, None
            reporting, self._reporting = self._reporting, None
            late, self._late = self._late, None
        if late is not None:
            late.stop()
        if reporting is not None:
            reporting.close()
        if house is None:
            return
        house.aside.close()
        house.jobs.close()
        if house.collector is not None:
            house.collector.stop()
        for part in (house.history, house.reports):
            if part is not None:
                part.close()

    def _start(self) -> House:
        app = shielded(self.app, self._breakers)
        reports = open_reports(app.results_url, app.clock)
        house = House(
            app,
            self._breakers.guard(reports, app.results_url, StoreError),
            jobs=Jobs(app.clock),
            history_url=redacted(self._history_url),
            knows_code=self._knows_code,
            read_only=self._is_read_only,
            environment=app.config.web_environment,
        )
        try:
            house.keep(self._open_history())
        except StoreError as error:
            house.late = self._late = LateHistory(
                self._open_history, lambda history: self._adopt(house, history), error
            )
            self._late.start()
        if app.config.reports:
            witness = Witness("web", app.name, lambda: self._http, app.clock)
            self._reporting = Reporting("web", lambda: open_reports(app.results_url, app.clock), witness, app.clock)
            self._reporting.start()
        return house

    def _open_history(self) -> History:
        history = open_configured(self.app.config, self.app.results_url, self.app.clock)
        return self._breakers.guard(history, self._history_url, StoreError)

    @property
    def _history_url(self) -> str:
        return self.app.config.history or history_url(self.app.results_url)

    def _adopt(self, house: House, history: History) -> None:
        """Keep a history that could only be opened now; unless the server has stopped meanwhile."""
        with self._lock:
            if self._house is house:
                house.keep(history)
                return
        history.close()
