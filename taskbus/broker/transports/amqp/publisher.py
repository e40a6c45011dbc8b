"""Publishing: a batch is written at once, and every message of it is confirmed, refused, returned, or unknown.

AMQP cannot accept a batch whole or not at all. What is told is therefore exact in three cases: all accepted; none
accepted (``PublishFailed``); and else ``PublishUnknown``, whose text says how many were accepted.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from taskbus.broker.transports.amqp.calls import NOT_FOUND, Refused
from taskbus.broker.transports.amqp.letters import Confirms, Letter, returned_of
from taskbus.broker.transports.amqp.line import Line
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.broker.transports.amqp.wire import TooLate, Wire, WireLost
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown
from taskbus.failpoint import failpoint

IDLE = 1.0
"""Seconds without a word after which the broker is asked whether it takes messages before one is entrusted to it."""


PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Seconds until what a queue refused is sent again; each time twice as many: clients must not crowd a new leader."""


class Outcome(NamedTuple):
    """What became of letters: ``lost`` were not confirmed in time; ``closed``: why the broker closed the channel."""

    confirmed: int
    lost: list[Letter]
    refused: list[Letter]
    returned: list[Letter]
    closed: Refused | None

    @property
    def has_more_to_do(self) -> bool:
        return not self.lost and self.closed is None and bool(self.refused or self.returned)


class Publisher:
    """Publishes over one line, one batch at a time.

    ``unaccepted``: of the last batch, the ``id()`` of each letter that was not confirmed.
    """

    def __init__(self, line: Line, topology: Topology) -> None:
        self.line = line
        self._topology = topology
        self._confirms: Confirms | None = None
        self.unaccepted: set[int] = set()

    @property
    def is_used(self) -> bool:
        return self._confirms is not None

    def publish(self, letters: Sequence[Letter], until: float) -> None:
        """All accepted, or one of the errors above. Letters to a queue that is not there make it."""
        self.unaccepted = {id(letter) for letter in letters}
        wire, confirms = self._ready(until)
        self._announce(wire, confirms, until)
        pending, outcome = letters, self._send(wire, confirms, letters, until)
        was_remade, pause = False, PAUSE
        while outcome.has_more_to_do and not (outcome.returned and was_remade):
            if outcome.refused:
                again = self._elsewhere(wire, confirms, time.monotonic() + pause, until)
                if again is None:
                    break
                confirms, pause = again, min(2 * pause, LONGEST_PAUSE)
            if outcome.returned:
                was_remade = True
                if not self._remake(wire, confirms, outcome.returned, until):
                    break
            pending = [*outcome.refused, *outcome.returned]
            outcome = self._send(wire, confirms, pending, until)
        self.unaccepted = {id(letter) for letter in (*outcome.lost, *outcome.refused, *outcome.returned)}
        if self.unaccepted:
            self._complain(wire, letters, len(letters) - len(pending), outcome)

    def _announce(self, wire: Wire, confirms: Confirms, until: float) -> None:
        """Tell of new levels first; the workers know of them when the letters are confirmed."""
        letters = self._topology.to_announce
        if letters:
            outcome = self._send(wire, confirms, letters, until)
            if outcome.lost or outcome.closed is not None:
                self._topology.forget()
                raise PublishFailed(f"{self.line.address.where} did not take an announcement in time")
            letters.clear()

    def _elsewhere(self, wire: Wire, confirms: Confirms, at: float, until: float) -> Confirms | None:
        """Another channel than one where a queue refused, from ``at`` on; None: no time is left.

        A queue refuses while it is being made, or changes its leader. On a channel that first asked a leader that was
        dead, RabbitMQ 3.10 asks no other: there the queue would refuse until that node is back.
        """
        if at > until:
            return None
        try:
            while True:
                wire.wait(at)
        except TooLate:
            pass
        except WireLost:
            return None
        try:
            confirms.close(until)
            fresh = Confirms(wire)
            fresh.take(until)
        except (Refused, TooLate, WireLost):
            return None
        self._confirms = fresh
        return fresh

    def _complain(self, wire: Wire, letters: Sequence[Letter], accepted: int, outcome: Outcome) -> None:
        """Raise what describes this outcome of the last try. ``accepted``: how many were, by those before it."""
        where, total, lost, closed = self.line.address.where, len(letters), len(outcome.lost), outcome.closed
        if closed is not None:
            self._topology.forget()
            if total == 1 or (closed.code == NOT_FOUND and len({each.exchange for each in letters}) == 1):
                raise PublishFailed(self._explained(closed, letters))
        not_accepted = len(outcome.refused) + len(outcome.returned)
        if not_accepted == total:
            why = "no queue takes it" if outcome.returned else "its queue did not take it"
            raise PublishFailed(f"{where} refused the message: {why}")
        accepted += outcome.confirmed
        why = wire.failure or wire.blocked_because or (closed.text if closed else "")
        raise PublishUnknown(
            f"{where}: of {total} messages {accepted} were accepted, {not_accepted} refused, and {lost} not confirmed"
            f" in time{f' ({why})' if why else ''}; those may be queued, or not"
        )

    def _ready(self, until: float) -> tuple[Wire, Confirms]:
        """A channel that takes messages now. Nothing was sent when this raises ``PublishFailed``."""
        try:
            wire = self.line.wire(until)
            while wire.blocked_because is not None:
                wire.wait(until)
            confirms = self._confirms
            if confirms is None or confirms.wire is not wire or not confirms.is_usable:
                confirms = self._probed(wire, until)
            elif time.monotonic() - wire.heard_at > IDLE:
                confirms = self._awake(wire, confirms, until)
            wire = confirms.wire
            while wire.blocked_because is not None:
                wire.wait(until)
        except TooLate:
            why = self.line.open_wire and self.line.open_wire.blocked_because
            raise PublishFailed(
                f"{self.line.address.where} takes no messages now: {f'it is {why}' if why else 'it does not answer'};"
                " nothing was sent"
            ) from None
        except WireLost as error:
            raise PublishFailed(f"{self.line.address.where}: {error}; nothing was sent") from error
        except BrokerError as error:
            raise PublishFailed(str(error)) from error
        confirms.open.clear()
        return wire, confirms

    def _probed(self, wire: Wire, until: float, confirms: Confirms | None = None) -> Confirms:
        """A channel on which the broker has just taken a message, or has said that it takes none."""
        if confirms is None:
            confirms = Confirms(wire)
            confirms.take(until)
        self._confirms = confirms
        confirms.open.clear()
        confirms.probe()
        wire.flush(until)
        while confirms.open and wire.blocked_because is None:
            wire.wait(until)
        return confirms

    def _awake(self, wire: Wire, confirms: Confirms, until: float) -> Confirms:
        """The same after some silence: on a new connection if this one is dead, as a firewall may have forgotten it."""
        try:
            return self._probed(wire, (time.monotonic() + until) / 2, confirms)
        except TooLate:
            wire.fail("the broker did not answer in time")
        except WireLost:
            pass
        return self._probed(self.line.wire(until), until)

    def _send(self, wire: Wire, confirms: Confirms, letters: Sequence[Letter], until: float) -> Outcome:
        """Send, and wait until all are confirmed or no more can be."""
        started = time.monotonic()
        confirms.returned.clear()
        confirms.refused.clear()
        sent = confirms.send(letters)
        try:
            wire.flush(until)
            failpoint("publish.inside")
            while confirms.open and confirms.closed is None:
                wire.wait(until)
        except TooLate:
            if wire.heard_at < started:
                wire.fail("the broker did not answer in time")
        except WireLost:
            pass
        lost = [letters[number - sent.start] for number in sorted(confirms.open)]
        confirms.open.clear()
        refused = [letters[number - sent.start] for number in sorted(confirms.refused)]
        returned = returned_of(letters, confirms.returned) if confirms.returned else []
        return Outcome(
            len(letters) - len(lost) - len(refused) - len(returned), lost, refused, returned, confirms.closed
        )

    def _remake(self, wire: Wire, confirms: Confirms, returned: Sequence[Letter], until: float) -> bool:
        """Make the queues that were missing; False if they cannot be made."""
        topology = self._topology
        try:
            for queue, level in dict.fromkeys((letter.queue, letter.level) for letter in returned if letter.queue):
                topology.forget(topology.naming.queue(queue, level))
                topology.ensure(queue, level, until)
            self._announce(wire, confirms, until)
        except (BrokerError, PublishFailed, Refused, WireLost, TooLate):
            return False
        return True

    def _explained(self, refusal: Refused, letters: Sequence[Letter]) -> str:
        prefix = self.line.address.prefix
        names = dict.fromkeys(letter.exchange.removeprefix(prefix) for letter in letters if letter.exchange)
        if refusal.code == NOT_FOUND and len(names) == 1:
            return f"exchange {next(iter(names))!r} does not exist; declare it first"
        return f"{self.line.address.where} refused the message: {refusal.text}"
