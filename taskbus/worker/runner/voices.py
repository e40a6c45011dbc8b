"""What an attempt says while it runs: how far it has come, and the last lines that it logged.

Both leave ahead of the attempt's own report. Progress is sent a few times a second at most, however often a task tells
of it, and always as it was last. Lines are kept here until the attempt has ended, and sent where a record of it is
likely: of what failed always, of what went well of so many a second. They are taken where ``logging`` makes a record,
by the context variable that names the attempt; loggers, handlers and levels stay what the application made of them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from taskbus.config import Config
from taskbus.context import current
from taskbus.logs import line_of
from taskbus.monitor.bucket import Bucket

EVERY = 0.25
"""Seconds between two sends of progress."""
MAX_LINES, MAX_CHARACTERS, LONGEST_LINE = 200, 16_384, 2_000
"""What is kept of an attempt's log: the last lines."""

Send = Callable[..., None]
"""Sends a frame to the supervisor: ``Link.send``."""


class Voice:
    """What one attempt says. Used by the threads and coroutines that work for it."""

    __slots__ = ("_voices", "lines", "tag")

    def __init__(self, voices: "Voices", tag: int) -> None:
        self._voices = voices
        self.tag = tag
        self.lines: deque[str] | None = None

    def progress(self, done: float, total: float, note: str) -> None:
        """Tell how far it has come, as it is now."""
        self._voices.progress(self.tag, (done, total, note, time.time()))

    def log(self, record: logging.LogRecord) -> None:
        """Keep a line, among the last ones."""
        lines = self.lines
        if lines is None:
            lines = self.lines = deque(maxlen=MAX_LINES)
        lines.append(line_of(record)[:LONGEST_LINE])

    def last_lines(self) -> Sequence[str]:
        """The last lines, of the size that is kept."""
        kept: list[str] = []
        room = MAX_CHARACTERS
        for line in reversed(list(self.lines or ())):
            room -= len(line)
            if room < 0:
                break
            kept.append(line)
        return kept[::-1]


class Voices:
    """The voices of a runner's attempts. ``rate``: successes a second whose lines are sent; None keeps no lines."""

    def __init__(self, send: Send, rate: float | None = None) -> None:
        self._send = send
        self._rate = rate
        self._bucket = Bucket(rate or 0.0)
        self._latest: dict[int, Any] = {}
        self._is_let_go = False
        self._is_any = threading.Event()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def of(self, tag: int) -> Voice:
        """The voice of an attempt that begins."""
        return Voice(self, tag)

    def let_go(self) -> None:
        """In a process that a task has forked: what is said there is not for the supervisor."""
        self._is_let_go = True

    def listen(self) -> None:
        """Keep what attempts log from now on."""
        if self._rate is not None:
            tap()

    def progress(self, tag: int, progress: Any) -> None:
        """See ``Voice.progress``."""
        self._latest[tag] = progress
        if not self._is_any.is_set():
            self._is_any.set()
            if self._thread is None:
                self._begin()

    def ended(self, voice: Voice, *, is_success: bool) -> None:
        """The attempt has ended: send what is left to say, ahead of its report."""
        if self._is_let_go:
            return
        if self._thread is not None:
            self._tell()
        if voice.lines and (not is_success or self._may_send()):
            self._send("logs", voice.tag, voice.last_lines())

    def _may_send(self) -> bool:
        with self._sending:
            self._bucket.fill()
            if self._bucket.left < 1.0:
                return False
            self._bucket.left -= 1.0
            return True

    def _begin(self) -> None:
        with self._sending:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="taskbus-progress", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            self._is_any.wait()
            self._is_any.clear()
            self._tell()
            time.sleep(EVERY)

    def _tell(self) -> None:
        with self._sending:  # so that nothing is said of an attempt behind its report
            latest = [self._latest.popitem() for _ in range(len(self._latest))]
            if latest:
                self._send("progress", [[tag, *progress] for tag, progress in latest])


def log_rate_of(config: Config) -> float | None:
    """See ``Voices``: by the settings of an application."""
    return float(config.reports_rate) if config.reports and config.task_logs else None


def tap() -> None:
    """Have every record that ``logging`` makes for an attempt heard by its voice as well, once in a process."""
    make = logging.getLogRecordFactory()
    if getattr(make, "is_taskbus", False):
        return

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        context = current.get()
        if context is not None and context.voice is not None:
            context.voice.log(record)
        return record

    made.is_taskbus = True  # type: ignore[attr-defined]  # a mark, to be found again
    logging.setLogRecordFactory(made)
