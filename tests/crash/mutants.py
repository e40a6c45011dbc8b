"""Broken workers: each mutant switches one mechanism off in the worker's process, from outside of the product.

The suite plays a cell with it and must say what is lost; a mutant whose cell stays green is a blind spot of the suite.
"""

from collections.abc import Callable, Sequence
from typing import Any

from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act
from taskbus.broker.transports import sql
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
    sql.SQL["ack"] = "DELETE FROM taskbus_message WHERE id = ?1 AND ?2 = ?2 AND ?3 = ?3"


@mutant
def early_ack() -> None:
    """A message is taken off its queue before its task runs."""
    spec = supervisor.TaskSpec
    supervisor.TaskSpec = lambda **fields: spec(**{**fields, "at_most_once": True})  # type: ignore[misc,assignment]


@mutant
def no_reaper() -> None:
    """Nobody looks for dead workers."""
    sql.SqlStorage.reap = lambda self: 0  # type: ignore[method-assign]


@mutant
def no_renewal() -> None:
    """A worker that is alive lets its lease run out."""
    sql.SqlStorage.renew = lambda self, holder: None  # type: ignore[method-assign]


@mutant
def hasty_reaper() -> None:
    """After a jump of the clock, or a lock on the file, nobody gives the others the time to renew."""
    Consumer.reap = lambda self: self._storage.reap()  # type: ignore[method-assign]


@mutant
def torn_retry() -> None:
    """The failed attempt is acknowledged first, its retry published afterwards."""
    whole = sql.SqlStorage._settle

    def torn(self: Any, owner: int, settlements: Sequence[Any], encode: Callable[[Any], Any], record: Any) -> None:
        follow_ups = [message for each in settlements for message in each.follow_ups]
        whole(self, owner, [_without_follow_ups(each) for each in settlements], encode, record)
        if follow_ups:
            failpoint("mutant.between")
            with self._session.writing() as cursor:
                self._insert(cursor, [encode(message) for message in follow_ups])

    sql.SqlStorage._settle = torn  # type: ignore[method-assign]


def _without_follow_ups(settlement: Any) -> Any:
    return type(settlement)(settlement.delivery, settlement.act, settlement.delay, (), settlement.changes)


@mutant
def no_crash_count() -> None:
    """A crash of a runner is not counted."""
    sql.SQL["give_back"] = sql.SQL["give_back"].replace("crashes = crashes + ?", "crashes = crashes + 0 * ?")


@mutant
def no_give_back() -> None:
    """A worker that stops keeps what it had not finished, until its lease runs out."""
    whole = sql.SqlStorage._settle

    def keeping(self: Any, owner: int, settlements: Sequence[Any], encode: Callable[[Any], Any], record: Any) -> None:
        whole(self, owner, [each for each in settlements if each.act is not Act.RELEASE], encode, record)

    sql.SqlStorage._settle = keeping  # type: ignore[method-assign]
    sql.SqlStorage.leave = lambda self, holder: None  # type: ignore[method-assign]


@mutant
def doomsday() -> None:
    """A fault of the supervisor's own: it dies of the mere sight of one message."""
    whole = intake.Intake.look

    def look(self: Any, delivery: Any, now: float) -> Any:
        if b"doomsday" in delivery.wire:
            failpoint("intake.doomsday")
        return whole(self, delivery, now)

    intake.Intake.look = look  # type: ignore[method-assign]
