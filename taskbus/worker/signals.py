"""Signals, made an event of the supervisor's loop: a handler only counts and wakes it."""

import contextlib
import selectors
import signal
import socket
from types import TracebackType


class Signals:
    """Hears SIGTERM and SIGINT (stop; once more: at once) and SIGQUIT (at once) while entered, in the main thread.

    ``heard`` is 0, 1 for a stop in good order, 2 or more for one at once.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.heard = 0
        self._selector = selector
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> "Signals":
        bell, ours = socket.socketpair()
        for end in (bell, ours):
            end.setblocking(False)
            self._undo.callback(end.close)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._undo.callback(signal.signal, number, signal.signal(number, self._hear))
        self._undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False))
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._empty(ours))
        self._undo.callback(self._selector.unregister, ours)
        return self

    def stop(self) -> None:
        """As if one had been heard that asks for a stop in good order."""
        self.heard = max(self.heard, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()

    def _hear(self, number: int, _: object) -> None:
        self.heard += 2 if number == signal.SIGQUIT else 1

    def _empty(self, ours: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            ours.recv(4096)
