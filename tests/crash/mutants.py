"""Broken workers: each mutant switches one mechanism off in the worker's process, from outside of the product.

The suite plays a cell with it and must say what is lost; a mutant whose cell stays green is a blind spot of the suite.
Most break what lies above every transport; a fence, and what a transport does about lost replies, are its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act
from taskbus.broker.parcels import to_parcel
from taskbus.failpoint import failpoint
from taskbus.worker import intake, supervisor

MUTANTS: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Break this process as ``name`` says; nothing for an empty name."""
    if name:
        MUTANTS[name]()


def mutant(function: Callable[[], None]) -> Callable[[], None]:
    """Put a function on the list of mutants."""
    MUTANTS[function.__name__.replace("_", " ")] = function
    return function


@mutant
def no_fence() -> None:
    """Whoever says that a message is done is believed."""
    from taskbus.broker.transports import sql
    from taskbus.broker.transports.redis import settling

    sql.SQL["ack"] = "DELETE FROM taskbus_message WHERE id = ?1 AND ?2 = ?2 AND ?3 = ?3"
    text = settling.SETTLE.text
    assert "return stale" in text
    settling.SETTLE = type(settling.SETTLE)(text.replace("return stale", "stale = { 1 }"))


@mutant
def early_ack() -> None:
    """A message is taken off its queue before its task runs."""
    spec = supervisor.TaskSpec
    supervisor.TaskSpec = lambda **fields: spec(**{**fields, "at_most_once": True})  # type: ignore[misc,assignment]


@mutant
def no_reaper() -> None:
    """Nobody looks for dead workers."""
    Consumer.reap = lambda self: 0  # type: ignore[method-assign]


@mutant
def no_renewal() -> None:
    """A worker that is alive lets its lease run out, and believes that it has renewed it."""

    def forgets(self: Any) -> None:
        self._renewed_at = self._clock()

    Consumer.renew = forgets  # type: ignore[method-assign]


@mutant
def hasty_reaper() -> None:
    """After a jump of the clock, or a lock on the file, nobody gives the others the time to renew."""
    Consumer.reap = lambda self: self._storage.reap()  # type: ignore[method-assign]


@mutant
def torn_retry() -> None:
    """The failed attempt is acknowledged first, its retry published afterwards."""
    whole = Consumer.settle

    def torn(self: Any, settlements: Sequence[Any], record: Any, *, shared: bool) -> Any:
        follow_ups = [message for each in settlements for message in each.follow_ups]
        stale = whole(self, [each._replace(follow_ups=()) for each in settlements], record, shared=shared)
        if follow_ups:
            failpoint("mutant.between")
            self._storage.publish([to_parcel(message)._replace(id="") for message in follow_ups])
        return stale

    Consumer.settle = torn  # type: ignore[method-assign]


@mutant
def no_crash_count() -> None:
    """A crash of a runner is not counted."""
    whole = Consumer.settle

    def forgiving(self: Any, settlements: Sequence[Any], record: Any, *, shared: bool) -> Any:
        uncounted = [each._replace(act=Act.RELEASE) if each.act is Act.CRASH else each for each in settlements]
        return whole(self, uncounted, record, shared=shared)

    Consumer.settle = forgiving  # type: ignore[method-assign]


@mutant
def no_give_back() -> None:
    """A worker that stops keeps what it had not finished, until its lease runs out."""
    whole = Consumer.settle

    def keeping(self: Any, settlements: Sequence[Any], record: Any, *, shared: bool) -> Any:
        kept = [each for each in settlements if each.act is not Act.RELEASE]
        return whole(self, kept, record, shared=shared) if kept else []

    Consumer.settle = keeping  # type: ignore[method-assign]
    Consumer.close = lambda self: None  # type: ignore[method-assign]


@mutant
def no_second_look() -> None:
    """What a claim brought whose reply was lost is never asked for again."""
    from taskbus.broker.transports.redis.holding import Holding

    Holding.must_look = property(lambda self: False, lambda self, value: None)  # type: ignore[assignment]


@mutant
def doomsday() -> None:
    """A fault of the supervisor's own: it dies of the mere sight of one message."""
    whole = intake.Intake.look

    def look(self: Any, delivery: Any, now: float) -> Any:
        if b"doomsday" in delivery.wire:
            failpoint("intake.doomsday")
        return whole(self, delivery, now)

    intake.Intake.look = look  # type: ignore[method-assign]
