"""What is known to hang is not waited for again and again: the first who waited in vain speaks for all others.

Source: M. Nygard, Release It!, "Circuit Breaker": it opens with a call that failed after long, is half open once a
second, for a single call, and closes with the first call that is answered.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from taskbus.database.urls import redacted
from taskbus.errors import BrokerError, SendError, StoreError, TaskBusError

log = logging.getLogger(__name__)
T = TypeVar("T")
SLOW = 2.0
"""Seconds after which a failure means that nobody answers: a refused connection fails at once, and costs nothing."""
EVERY = 1.0
"""Seconds from a call in vain to the next one."""
_FROM_MEMORY = ("now",)
"""Methods that may answer without asking."""
Kind = type[BrokerError] | type[StoreError]


class Breaker:
    """Of one server, for any thread. ``place`` is what the log calls it."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._clock = place, clock
        self._lock = threading.Lock()
        self._error = ""
        self._again_at = 0.0
        self._trial: int | None = None

    def call(self, ask: Callable[[], T], kind: Kind, *, is_proof: bool = True) -> T:
        """What ``ask`` returns or raises; ``kind`` at once while the server is known to hang.

        ``is_proof``: that it returns means that the server answered.
        """
        self._enter(kind)
        began = self._clock()
        try:
            found = ask()
        except (BrokerError, StoreError, SendError) as error:
            self._failed(error, is_slow=self._clock() - began >= SLOW)
            raise
        except BaseException:
            self._leave()
            raise
        if is_proof:
            self._answered()
        else:
            self._leave()
        return found

    def _enter(self, kind: Kind) -> None:
        me = threading.get_ident()
        with self._lock:
            if not self._error or self._trial == me:
                return
            if self._trial is not None or self._clock() < self._again_at:
                raise kind(f"{self._error} (it is asked again every second)")
            self._trial = me

    def _leave(self) -> None:
        with self._lock:
            if self._trial == threading.get_ident():
                self._trial = None

    def _failed(self, error: TaskBusError, *, is_slow: bool) -> None:
        if not is_slow:  # whoever refuses does not hang
            self._answered()
            return
        self._leave()
        with self._lock:
            is_new, self._error = not self._error, str(error)
            self._again_at = self._clock() + EVERY
        if is_new:
            log.warning(
                "%s does not answer in time: %s; requests are told so at once until it does", self._place, error
            )

    def _answered(self) -> None:
        if not self._error and self._trial is None:
            return
        with self._lock:
            was, self._error, self._trial = self._error, "", None
        if was:
            log.info("%s answers again", self._place)


class Guarded:
    """Stands for an object whose methods ask a server: each call goes through its breaker."""

    def __init__(self, guarded: object, breaker: Breaker, kind: Kind) -> None:
        self._guarded, self._breaker, self._kind = guarded, breaker, kind

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._guarded, name)
        if not callable(found) or name == "close":
            return found

        def call(*given: Any, **named: Any) -> Any:
            is_proof = name not in _FROM_MEMORY
            made = self._breaker.call(lambda: found(*given, **named), self._kind, is_proof=is_proof)
            return self._each(made) if isinstance(made, Iterator) else made

        return call

    def _each(self, made: Iterator[T]) -> Iterator[T]:
        """What is only asked for while it is gone through."""
        end = object()
        while (found := self._breaker.call(lambda: next(made, end), self._kind)) is not end:
            yield cast(T, found)


class Breakers:
    """One for each server, however many roles it has. ``guard`` is for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Breaker] = {}

    def of(self, url: str) -> Breaker | None:
        """That of the server at ``url``; None for a file and for memory, which do not hang: at worst one is locked."""
        scheme = url.partition(":")[0].partition("+")[0]
        if scheme in ("sqlite", "memory"):
            return None
        where = redacted(url).partition("://")[2].rpartition("@")[2]
        place = re.split("[/?#]", where, maxsplit=1)[0] or where
        with self._lock:
            return self._known.setdefault(place, Breaker(f"{scheme} at {place}"))

    def guard(self, asked: T, url: str, kind: Kind) -> T:
        """``asked``, which asks the server at ``url``, behind its breaker."""
        breaker = self.of(url)
        return asked if breaker is None else cast(T, Guarded(asked, breaker, kind))
