"""One thread's way to one Redis server: commands within a deadline, scripts by their hash, reconnecting, push messages.

What it knows of a command that failed it says by the error's class (see ``redis_errors``); nothing is ever sent twice
unless the caller said ``repeatable``, or it surely was not executed.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from hiredis import ReplyError

from taskbus.database.redis_errors import WAIT_AND_SEE, NotReached, RedisError, ReplyLost, code_of, refused
from taskbus.database.redis_script import Script
from taskbus.database.redis_url import RedisPlace
from taskbus.database.redis_wire import Wire, pack
from taskbus.database.tls import remedy
from taskbus.failpoint import failpoint

Argument = str | bytes | int | float
Call = tuple[Script, Sequence[Argument], Sequence[Argument]]
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
_BROKEN = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
TRIES = 3
"""Connections that may break under one command before that is an error, be there time left or not."""

IDLE = 1.0
"""Seconds without a word after which a server is asked whether it is there, before it is told what must not be said
twice: a firewall may have forgotten the connection, and that command would be lost in doubt."""
_PING = pack(("PING",))


class Follower(Protocol):
    """Who must know the descriptor behind a link, which changes when it reconnects."""

    def opened(self, fd: int) -> None: ...

    def closing(self, fd: int) -> None: ...


class Line:
    """The connection behind links, who follows its descriptor, and who listens on it."""

    def __init__(self, place: RedisPlace, find: Callable[[float], Wire]) -> None:
        self.place = place
        self.find = find
        self.wire: Wire | None = None
        self.followers: list[Follower] = []
        self.ears: dict[bytes, Callable[[], None]] = {}


class Link:
    """Used by one thread at a time. Nothing is connected to before the first command.

    Every command has ``timeout`` seconds in all, or until ``deadline`` (by ``time.monotonic()``). ``repeatable`` says
    that a command may be executed twice without harm: then a lost connection is no error while there is time.

    Raises:
        RedisError: ``NotReached``, ``ReplyLost`` or ``Refused``, from any method that sends something.
    """

    def __init__(self, line: Line, timeout: float) -> None:
        self.place = line.place
        self.timeout = timeout
        self.followers = line.followers
        self._line: Line = line
        self._ears = line.ears

    # --- commands ---

    def call(self, *command: Argument, deadline: float | None = None, repeatable: bool = False) -> Any:
        """The reply to one command, in bytes."""
        (reply,) = self._exchange(pack(command), 1, deadline, repeatable)
        if type(reply) is ReplyError:
            raise refused(str(reply), self.place.shown)
        return reply

    def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, deadline: float | None = None, repeatable: bool = False
    ) -> list[Any]:
        """The replies to commands sent together, which are no transaction: all run, then a refusal is raised."""
        replies = self.replies(commands, deadline=deadline, repeatable=repeatable)
        for reply in replies:
            if type(reply) is ReplyError:
                raise refused(str(reply), self.place.shown)
        return replies

    def replies(
        self, commands: Sequence[Sequence[Argument]], *, deadline: float | None = None, repeatable: bool = False
    ) -> list[Any]:
        """As ``pipeline``, with refusals among the replies, as hiredis's ``ReplyError``."""
        packed = b"".join([pack(tuple(command)) for command in commands])
        return self._exchange(packed, len(commands), deadline, repeatable) if commands else []

    def script(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument], *,
        deadline: float | None = None, repeatable: bool = False, midway: str = "",
    ) -> Any:  # fmt: skip
        """What a script returns. ``midway`` names a failpoint between its sending and its reply."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        packed = pack(("EVALSHA", script.sha, len(keys), *keys, *args))
        (reply,) = self._exchange(packed, 1, deadline, repeatable, midway)
        if type(reply) is ReplyError and str(reply).startswith("NOSCRIPT"):
            packed = pack(("EVAL", script.text, len(keys), *keys, *args))
            (reply,) = self._exchange(packed, 1, deadline, repeatable)
        if type(reply) is ReplyError:
            raise refused(str(reply), self.place.shown)
        return reply

    def scripts(self, calls: Sequence[Call], *, deadline: float | None = None, repeatable: bool = False) -> list[Any]:
        """What scripts return that are sent together; they are no transaction. The first refusal is raised."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        packed = [pack(("EVALSHA", script.sha, len(keys), *keys, *args)) for script, keys, args in calls]
        replies = self._exchange(b"".join(packed), len(calls), deadline, repeatable) if calls else []
        for n, (script, keys, args) in enumerate(calls):
            if type(replies[n]) is ReplyError:
                if not str(replies[n]).startswith("NOSCRIPT"):
                    raise refused(str(replies[n]), self.place.shown)
                replies[n] = self.script(script, keys, args, deadline=deadline, repeatable=repeatable)
        return replies

    # --- push messages ---

    def subscribe(self, channel: bytes, ear: Callable[[], None]) -> None:
        """Call ``ear`` at every message on ``channel``, and after a reconnect, when one may have been missed.

        It is called inside of whatever is done with this link, by its thread, and must neither block nor raise.
        """
        deadline = time.monotonic() + self.timeout
        wire = self._ready(deadline)
        try:
            self._listen(wire, [channel], deadline)
        except OSError as error:
            self.drop()
            raise NotReached(f"{self.place.shown} did not answer: {_reason(error)}") from error
        except BaseException:
            self.drop()  # after a refusal the PING's reply is still to come
            raise
        self._ears[channel] = ear

    def unsubscribe(self, channel: bytes) -> None:
        """Never raises: when the server cannot be told, the connection is given up."""
        self._ears.pop(channel, None)
        if self.fd < 0:
            return
        try:
            self._exchange(
                pack(("UNSUBSCRIBE", channel)) + pack(("PING",)), 1, None, repeatable=True
            )  # fmt: skip
        except RedisError:
            self.drop()

    def look(self) -> bool:
        """Take in what was pushed, without waiting; False: the connection is gone, the next command opens another."""
        wire = self._line.wire
        if wire is not None and self._is_mine(wire) and wire.look():
            return True
        self.drop()
        return False

    def fileno(self) -> int:
        """A descriptor that is readable when ``look`` has something to take in; connects if it must."""
        return self._ready(time.monotonic() + self.timeout).fileno()

    @property
    def fd(self) -> int:
        """The descriptor of the connection; -1 while there is none."""
        wire = self._line.wire
        return wire.fileno() if wire is not None and self._is_mine(wire) else -1

    @property
    def has_ears(self) -> bool:
        return bool(self._ears)

    def hello(self) -> dict[bytes, Any]:
        """What the server says of itself: version, mode, role."""
        return self._ready(time.monotonic() + self.timeout).hello

    def now(self, deadline: float | None = None) -> float:
        """What the server's clock says, in Unix seconds, within half a round trip; connecting is no part of that."""
        deadline = time.monotonic() + self.timeout if deadline is None else deadline
        self._ready(deadline)
        asked = time.monotonic()
        seconds, microseconds = self.call("TIME", repeatable=True, deadline=deadline)
        return int(seconds) + int(microseconds) / 1e6 + (time.monotonic() - asked) / 2

    # --- the connection ---

    def drop(self) -> None:
        """Close the connection; the next command opens another."""
        wire, self._line.wire = self._line.wire, None
        if wire is None:
            return
        if self._is_mine(wire):
            for follower in self.followers:
                follower.closing(wire.fileno())
        wire.close()

    def _is_mine(self, wire: Wire) -> bool:
        return wire.pid == os.getpid()

    def _ready(self, deadline: float) -> Wire:
        """The connection, alive as far as can be seen."""
        wire = self._line.wire
        if wire is not None and wire.pid == os.getpid() and wire.look():
            return wire
        self.drop()
        for tries_left in reversed(range(TRIES)):
            try:
                return self._open(deadline)
            except OSError as error:
                self.drop()
                if not (tries_left and isinstance(error, _BROKEN)):
                    advice = remedy(error, self.place.way_with_tls)
                    text = f"cannot connect to {self.place.shown}: {_reason(error)}; {advice}"
                    raise NotReached(text) from error
            except BaseException:
                self.drop()
                raise
        raise AssertionError("the last try raises")

    def _awake(self, wire: Wire, deadline: float) -> Wire:
        """This connection if the server answers on it in half of the time that is left, or else a new one."""
        until = (time.monotonic() + deadline) / 2
        try:
            wire.send(_PING, until)
            wire.reply(until)  # a refusal is a sign of life too
            wire.hear()
        except OSError:
            self.drop()
            return self._ready(deadline)
        except BaseException:
            self.drop()
            raise
        return wire

    def _open(self, deadline: float) -> Wire:
        """A new connection, on which is heard whatever was heard on the last. Raises ``OSError`` when it breaks."""
        wire = self._line.wire = self._line.find(deadline)
        wire.on_push = partial(_hear, self._ears)
        for follower in self.followers:
            follower.opened(wire.fileno())
        if self._ears:
            self._listen(wire, list(self._ears), deadline)
            for ear in list(self._ears.values()):
                ear()
        return wire

    def _listen(self, wire: Wire, channels: Sequence[bytes], deadline: float) -> None:
        """Subscribe. Its reply is a push message, or an error: the reply to a PING after it says that it is done."""
        wire.send(pack(("SUBSCRIBE", *channels)) + pack(("PING",)), deadline)
        reply = wire.reply(deadline)
        if type(reply) is ReplyError:
            raise refused(str(reply), self.place.shown)
        wire.hear()

    def _exchange(
        self, packed: bytes, count: int, deadline: float | None, repeatable: bool, midway: str = ""
    ) -> list[Any]:
        """Send, and read ``count`` replies, again while that is safe and there is time."""
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        pause, tries = FIRST_PAUSE, 0
        while True:
            wire = self._ready(deadline)
            if not repeatable and time.monotonic() - wire.heard_at > IDLE:
                wire = self._awake(wire, deadline)
            is_sent = False
            try:
                wire.send(packed, deadline)
                is_sent = True
                if midway:
                    failpoint(midway)
                replies = [wire.reply(deadline) for _ in range(count)]
            except OSError as error:
                self.drop()
                tries += 1
                is_lost = is_sent or count > 1
                if (repeatable or not is_lost) and tries < TRIES and not isinstance(error, TimeoutError):
                    continue
                kind = ReplyLost if is_lost else NotReached
                raise kind(f"{self.place.shown} did not answer: {_reason(error)}") from error
            except BaseException:
                self.drop()  # whose reply comes next nobody could tell
                raise
            try:
                wire.hear()  # what was read together with the last reply makes no descriptor readable any more
            except OSError:
                self.drop()  # the replies came all the same
            if not _should_wait(replies, repeatable) or time.monotonic() + pause > deadline:
                return replies
            self.drop()  # there may be another server behind the same name by now
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _hear(ears: Mapping[bytes, Callable[[], None]], push: Any) -> None:
    """Called by the wire, which so holds no reference to the link: the connection of a thread closes when it ends."""
    if push[0] == b"message":
        ear = ears.get(push[1])
        if ear is not None:
            ear()


def _should_wait(replies: Sequence[Any], repeatable: bool) -> bool:
    """Whether the server refused for now, and nothing was done that must not be done twice."""
    waiting = [reply for reply in replies if type(reply) is ReplyError and code_of(str(reply)) in WAIT_AND_SEE]
    return bool(waiting) and (repeatable or len(waiting) == len(replies))


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
