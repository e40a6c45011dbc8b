"""The thread of a process that speaks with Celery's tools: tells events, hears commands, answers them.

It has a connection of its own and shares nothing with the tasks but the interpreter: when its broker is away it
connects again and again, and nobody waits for it.
"""

import logging
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

# mypy: allow-untyped-calls
from kombu.asynchronous import Hub
from kombu.clocks import LamportClock
from kombu.exceptions import EncodeError, InconsistencyError

from taskbus.broker.monitoring.line import Command, Line
from taskbus.broker.monitoring.place import Place

logger = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between heartbeats; monitors give a worker up after twice that."""
GATHER_FOR = 0.05
"""Seconds for which events are gathered, to be sent as one message."""
AT_ONCE = 100
"""Events in one message at most."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before connecting again, doubled each time."""
MINGLE_FOR = 0.5
"""Seconds that other workers have to tell what was revoked."""


class Post(Protocol):
    """Whom the station speaks for. Its methods are called in the station's thread."""

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """The reply to a command. Raises ``NoReply`` for silence; any other error is replied as Celery would."""

    def events(self) -> Sequence[Mapping[str, Any]]:
        """Take what is to be told, oldest first."""

    def presence(self) -> Mapping[str, Any] | None:
        """Fields of a heartbeat; None for who is no worker, which listens to nobody either."""

    def greeting(self) -> Mapping[str, Any]:
        """The arguments of ``hello``, with which a new worker asks the others what was revoked."""

    def learn(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Hear what other workers answered to ``hello``."""

    def lost(self, events: int) -> None:
        """Hear that so many events could not be told."""


class NoReply(Exception):
    """A command is not answered, though an answer was asked for."""


class Station:
    """Speaks for ``post`` as ``node`` from ``start`` to ``stop``."""

    def __init__(self, place: Place, node: str, post: Post) -> None:
        self._place = place
        self._node = node
        self._post = post
        self._clock = LamportClock()
        self._bell, self._ours = socket.socketpair()
        for end in (self._bell, self._ours):
            end.setblocking(False)
        self._is_rung = False
        self._is_stopping = False
        self._line: Line | None = None
        self._hub: Hub | None = None
        self._is_gathering = False
        self._thread = threading.Thread(target=self._run, name="taskbus-monitoring", daemon=True)
        self.broker: dict[str, Any] = {}

    @property
    def clock(self) -> int:
        """The logical clock, as of the last event told or command heard."""
        return int(self._clock.value)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        """Tell the station that there are events. From any thread; costs a system call only if it did not know."""
        if not self._is_rung:
            self._is_rung = True
            with suppress(OSError):
                self._bell.send(b".")

    def stop(self, timeout: float) -> None:
        """Say goodbye and end, within ``timeout`` seconds; whatever is left unsaid then is not said."""
        self._is_stopping = True
        self._is_rung = False
        self.ring()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if not self._thread.is_alive():
            self._bell.close()
            self._ours.close()

    def present(self) -> None:
        """Send a heartbeat now. Only from within ``Post.answer``."""
        self._present("worker-heartbeat")

    # --- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        wait, was_told = FIRST_WAIT, False
        while not self._is_stopping:
            try:
                self._speak()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next connection may be a better one
                level = logging.DEBUG if was_told else logging.WARNING
                logger.log(level, "monitoring: %s: %s; connecting again", type(error).__name__, error)
                was_told = True
            wait = FIRST_WAIT if self._line is not None else min(2 * wait, LONGEST_WAIT)
            was_told = was_told and self._line is None
            self._close()
            if not self._is_stopping:
                self._hear_bell()
                select.select([self._ours], [], [], wait)

    def _speak(self) -> None:
        line = Line(self._place, self._node, self._clock)
        self.broker = line.about
        if self._post.presence() is not None:
            self._post.learn(line.ask_others("hello", self._post.greeting(), MINGLE_FOR))
            line.listen(self._on_command, self._on_election)
        self._line, self._hub = line, Hub()
        hub = self._hub
        hub.propagate_errors = (*line.errors, OSError)  # type: ignore[assignment]
        hub.add_reader(self._ours, self._on_bell)
        line.join(hub)
        self._present("worker-online")
        hub.call_repeatedly(EVERY, self._present, "worker-heartbeat")
        self._flush()
        while not self._is_stopping:
            hub.run_once()
        self._flush()
        self._present("worker-offline")

    def _close(self) -> None:
        hub, line, self._hub, self._line = self._hub, self._line, None, None
        self._is_gathering = False
        if hub is not None:
            with suppress(OSError, ValueError, KeyError):
                hub.close()
        if line is not None:
            line.close()

    def _on_bell(self) -> None:
        self._hear_bell()
        if not self._is_gathering and self._hub is not None:
            self._is_gathering = True
            self._hub.call_later(0.0 if self._is_stopping else GATHER_FOR, self._flush)

    def _hear_bell(self) -> None:
        with suppress(BlockingIOError):
            self._ours.recv(4096)

    def _flush(self) -> None:
        self._is_gathering = self._is_rung = False
        events = self._post.events()
        for start in range(0, len(events), AT_ONCE):
            try:
                self._said(events[start : start + AT_ONCE])
            except BaseException:
                self._post.lost(len(events) - start)
                raise

    def _present(self, kind: str) -> None:
        fields = self._post.presence()
        if fields is not None:
            self._said([{"type": kind, "freq": EVERY, **fields}])

    def _said(self, events: Sequence[Mapping[str, Any]]) -> None:
        if self._line is not None:
            self._line.tell(events)

    def _on_election(self, event: Mapping[str, Any]) -> None:
        """Celery's workers hold elections, and wait for the ack of every worker they hear of."""
        self._said([{"type": "worker-elect-ack", "id": event.get("id")}])

    def _on_command(self, command: Command) -> None:
        self._clock.forward()
        try:
            reply = self._post.answer(command.method, command.arguments)
        except NoReply:
            return
        except Exception as error:
            logger.debug("remote control: %s(%s)", command.method, command.arguments, exc_info=True)
            reply = {"error": repr(error)}
        if self._line is None:
            return
        try:
            self._line.answer(command, reply)
        except EncodeError as error:
            self._line.answer(command, {"error": repr(error)})
        except InconsistencyError:
            pass  # who asked has left
