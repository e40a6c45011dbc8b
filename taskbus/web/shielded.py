"""The user's application as handlers see it: what it asks of broker and store goes through breakers."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from taskbus.app import TaskBus
from taskbus.beat.book import Schedules
from taskbus.broker.broker import Broker
from taskbus.errors import BrokerError, StoreError
from taskbus.store.base import Store
from taskbus.web.breaker import Breakers, Kind

T = TypeVar("T")


class Shielded:
    """Everything else is the application's own, which is as it was for whoever else uses it."""

    def __init__(self, app: TaskBus, breakers: Breakers) -> None:
        self._app, self._breakers = app, breakers
        self._opening = threading.Lock()
        self._opened: set[str] = set()
        self.schedules: Schedules = breakers.guard(app.schedules, app.results_url, StoreError)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    @property
    def broker(self) -> Broker:
        """The application's broker, opened when first used."""
        return self._open("broker", lambda: self._app.broker, self._app.broker_url, BrokerError)

    @property
    def store(self) -> Store:
        """The application's store, opened when first used."""
        return self._open("store", lambda: self._app.store, self._app.results_url, StoreError)

    def now(self) -> float:
        """As the application's: the broker's time; the local one where it cannot be asked."""
        try:
            return self.broker.now()
        except BrokerError:
            return self._app.clock()

    def send(self, *given: Any, **named: Any) -> Any:
        """As the application's."""
        breaker = self._breakers.of(self._app.broker_url)
        if breaker is None:
            return self._app.send(*given, **named)
        return breaker.call(lambda: self._app.send(*given, **named), BrokerError)

    def _open(self, name: str, find: Callable[[], T], url: str, kind: Kind) -> T:
        """One thread opens it, since all others would wait for the application's lock, each in turn in vain."""
        if name in self._opened:
            return self._breakers.guard(find(), url, kind)
        with self._opening:
            breaker = self._breakers.of(url)
            made = find() if breaker is None else breaker.call(find, kind, is_proof=False)
            self._opened.add(name)
            return self._breakers.guard(made, url, kind)


def shielded(app: TaskBus, breakers: Breakers) -> TaskBus:
    """``app``, as far as handlers use it."""
    return cast(TaskBus, Shielded(app, breakers))
