"""A Redis Cluster behind the same methods as one server: each command goes to the node that has its key.

Slots that move are followed: MOVED and ASK say where a key is now. What is subscribed to is heard on a connection to
any node, for messages reach all of them.
"""

import binascii
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hiredis import ReplyError

from taskbus.database.redis_errors import NotReached, RedisError, Refused, ReplyLost, code_of, refused
from taskbus.database.redis_link import Argument, Call, Line, Link
from taskbus.database.redis_script import Script
from taskbus.database.redis_url import Address, RedisPlace
from taskbus.database.redis_wire import Wire

SLOTS = 16384
KEYLESS = frozenset(("PING", "TIME", "INFO", "CONFIG", "PUBLISH", "CLUSTER"))
"""Commands that any node answers; they go to one and the same while it is there."""
PAUSE = 0.05
REVIVE_EVERY = 1.0
"""Seconds between two tries to listen again, when the node that was listened to is gone."""


def slot(key: Argument) -> int:
    """The slot of a key. Source: the Redis Cluster specification, "Key distribution model" and "Hash tags"."""
    text = key if isinstance(key, bytes) else str(key).encode()
    start = text.find(b"{")
    if start >= 0:
        end = text.find(b"}", start + 1)
        if end > start + 1:
            text = text[start + 1 : end]
    return binascii.crc_hqx(text, 0) % SLOTS


class ClusterLine(Line):
    """The connections of one thread: one a node, and the one it listens on, which is its own."""

    def __init__(self, place: RedisPlace) -> None:
        super().__init__(place, self._any)
        self.nodes: dict[Address, Line] = {}
        self.owners: list[Address] = []
        self.revive_at = 0.0

    def node(self, address: Address) -> Line:
        if address not in self.nodes:
            place = self.place
            self.nodes[address] = Line(place, lambda deadline: Wire(address, place, deadline))
        return self.nodes[address]

    def known(self) -> Iterable[Address]:
        """Nodes that may say who has what: those of the URL first, they are meant to last."""
        return dict.fromkeys([*self.place.addresses, *self.nodes])

    def _any(self, deadline: float) -> Wire:
        """A connection to the first node that can be reached."""
        last: OSError | RedisError | None = None
        known = list(self.known())
        for n, address in enumerate(known):
            until = time.monotonic() + (deadline - time.monotonic()) / (len(known) - n)
            try:
                return Wire(address, self.place, until)
            except (OSError, RedisError) as error:
                last = error
        assert last is not None
        raise last


class ClusterLink(Link):
    """As a ``Link``. A script's keys are all in one slot; ``pipeline`` and ``scripts`` may reach several."""

    _line: ClusterLine

    def __init__(self, line: ClusterLine, timeout: float) -> None:
        super().__init__(line, timeout)
        self._line = line

    def call(self, *command: Argument, deadline: float | None = None, repeatable: bool = False) -> Any:
        return self._follow(
            command, lambda link, until: link.call(*command, deadline=until, repeatable=repeatable), command, deadline
        )

    def script(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument], *,
        deadline: float | None = None, repeatable: bool = False, midway: str = "",
    ) -> Any:  # fmt: skip
        return self._follow(
            ("EVAL", *keys[:1]),
            lambda link, until: link.script(script, keys, args, deadline=until, repeatable=repeatable, midway=midway),
            ("EVAL", script.text, len(keys), *keys, *args),
            deadline,
        )

    def scripts(self, calls: Sequence[Call], *, deadline: float | None = None, repeatable: bool = False) -> list[Any]:
        """Those for one node are sent together. Those it sends elsewhere, or does not know yet, follow one by one."""
        deadline = self._deadline(deadline)
        by_node: dict[Address, list[int]] = {}
        for n, (_, keys, _) in enumerate(calls):
            by_node.setdefault(self._owner(("EVAL", *keys[:1]), deadline), []).append(n)
        answers: list[Any] = [None] * len(calls)
        for address, numbers in by_node.items():
            found = self._known_scripts(address, [calls[n] for n in numbers], deadline, repeatable=repeatable)
            for n, answer in zip(numbers, found, strict=True):
                is_open = type(answer) is ReplyError
                answers[n] = self.script(*calls[n], deadline=deadline, repeatable=repeatable) if is_open else answer
        return answers

    def _known_scripts(
        self, address: Address, calls: Sequence[Call], deadline: float, *, repeatable: bool
    ) -> Sequence[Any]:
        """What scripts return at a node; for those it did not run, and that may be run elsewhere, the refusal."""
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for script, keys, args in calls]
        try:
            answers = self._to(address).replies(commands, deadline=deadline, repeatable=repeatable)
        except NotReached as error:
            self._forget_slots()
            return [ReplyError(str(error))] * len(calls)
        except ReplyLost:
            self._forget_slots()
            raise
        for answer in answers:
            if type(answer) is ReplyError and code_of(str(answer)) not in ("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN"):
                raise refused(str(answer), self.place.shown)
        return answers

    def replies(
        self, commands: Sequence[Sequence[Argument]], *, deadline: float | None = None, repeatable: bool = False
    ) -> list[Any]:
        """The commands for one node are sent together. Those it sends elsewhere follow one by one."""
        deadline = self._deadline(deadline)
        by_node: dict[Address, list[int]] = {}
        for n, command in enumerate(commands):
            by_node.setdefault(self._owner(command, deadline), []).append(n)
        replies: list[Any] = [None] * len(commands)
        for address, numbers in by_node.items():
            link = self._to(address)
            found = link.replies([commands[n] for n in numbers], deadline=deadline, repeatable=repeatable)
            for n, reply in zip(numbers, found, strict=True):
                replies[n] = reply
                if type(reply) is ReplyError and code_of(str(reply)) in ("MOVED", "ASK"):
                    replies[n] = self.call(*commands[n], deadline=deadline, repeatable=repeatable)
        return replies

    def hello(self) -> dict[bytes, Any]:
        deadline = self._deadline(None)
        return self._to(self._owner(("PING",), deadline)).hello()

    def drop(self) -> None:
        super().drop()
        for line in self._line.nodes.values():
            Link(line, self.timeout).drop()

    def nodes(self) -> list[tuple[Address, Link]]:
        """Every node that has slots."""
        self._owner(("PING",), self._deadline(None))
        return [(address, self._to(address)) for address in dict.fromkeys(self._line.owners)]

    # --- finding the way ---

    def _deadline(self, deadline: float | None) -> float:
        return time.monotonic() + self.timeout if deadline is None else deadline

    def _follow(
        self, command: Sequence[Argument], act: Callable[[Link, float], Any], again: Sequence[Argument],
        deadline: float | None,
    ) -> Any:  # fmt: skip
        """Do something at the node that has the key of ``command``, wherever that is by now.

        ``again`` is the same as one command: a key that is on its way is asked for at its new place in a special way.
        """
        deadline = self._deadline(deadline)
        self._listen_again()
        while True:
            address = self._owner(command, deadline)
            try:
                return act(self._to(address), deadline)
            except Refused as error:
                if error.code == "MOVED":
                    if self._moved(error.answer, address):
                        continue
                elif error.code == "ASK":
                    reply = self._ask(error.answer, again, deadline)
                    if reply is not None:
                        return reply[0]
                else:
                    raise
                if time.monotonic() + PAUSE > deadline:
                    raise
            except NotReached:
                self._forget_slots()
                if time.monotonic() + PAUSE > deadline:
                    raise
            except ReplyLost:
                self._forget_slots()
                raise
            time.sleep(PAUSE)

    def _moved(self, answer: str, asked: Address) -> bool:
        """Note where a slot is now; whether that is somewhere else. The whole map is asked for anew, later."""
        _, number, place = answer.split()
        owner = _address(place if not place.startswith(":") else f"{asked.host}{place}")
        if self._line.owners and owner != asked:
            self._line.owners[int(number)] = owner
            return True
        self._forget_slots()
        return False

    def _ask(self, answer: str, command: Sequence[Argument], deadline: float) -> list[Any] | None:
        """Send a command where a slot is being moved to; None if that must be tried again."""
        link = self._to(_address(answer.split()[2]))
        reply = link.replies([("ASKING",), command], deadline=deadline)[1]
        if type(reply) is ReplyError:
            if code_of(str(reply)) in ("TRYAGAIN", "MOVED", "ASK"):
                return None
            raise refused(str(reply), self.place.shown)
        return [reply]

    def _owner(self, command: Sequence[Argument], deadline: float) -> Address:
        owners = self._line.owners
        if not owners:
            owners = self._line.owners = self._slots(deadline)
        return owners[0 if command[0] in KEYLESS or len(command) < 2 else slot(command[1])]

    def _slots(self, deadline: float) -> list[Address]:
        """Who has which slot, from the first node that says so."""
        problem: RedisError | None = None
        known = list(self._line.known())
        for n, address in enumerate(known):
            until = time.monotonic() + (deadline - time.monotonic()) / (len(known) - n)
            try:
                ranges = self._to(address).call("CLUSTER", "SLOTS", deadline=until, repeatable=True)
            except RedisError as error:
                problem = error
                continue
            owners = [address] * SLOTS
            for first, last, (host, port, *_), *_ in ranges:
                owner = Address(host.decode() if host else address.host, port)
                owners[first : last + 1] = [owner] * (last - first + 1)
            return owners
        assert problem is not None
        raise problem

    def _forget_slots(self) -> None:
        """Ask again who has what."""
        self._line.owners = []

    def _to(self, address: Address) -> Link:
        return Link(self._line.node(address), self.timeout)

    def _listen_again(self) -> None:
        """Whoever listened to a node that is gone must listen to another, also when nobody asks for it."""
        if not self.has_ears or self.fd >= 0 or time.monotonic() < self._line.revive_at:
            return
        self._line.revive_at = time.monotonic() + REVIVE_EVERY
        try:
            self.fileno()
        except RedisError:
            return


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host, int(port))
