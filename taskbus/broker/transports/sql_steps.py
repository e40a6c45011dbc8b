"""The port of ``sql_server``: the steps that PostgreSQL and MySQL take in ways of their own.

A step is a function of a cursor, inside a transaction unless it says otherwise; it may be run again from its start.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from taskbus.broker.transports.port import Claimed, Holder, Parcel
from taskbus.broker.transports.sql_server_session import ServerSession


class Key(NamedTuple):
    """A message as one holder was given it."""

    tag: int
    fence: int


class Return(NamedTuple):
    """A message to give back: ready, or after ``delay`` seconds."""

    tag: int
    fence: int
    delay: float
    is_crash: bool


class Steps(Protocol):
    """Each for one ``ServerSession``."""

    is_settled_at_once: bool
    """Whether ``take_off`` and ``give_back`` are one statement each, which needs no transaction."""

    def is_published_at_once(self, parcels: Sequence[Parcel], window: float) -> bool:
        """Whether ``publish`` is one statement."""

    def publish(self, cursor: Any, parcels: Sequence[Parcel], window: float) -> set[str]:
        """Insert them; of those with an id only the ones that were not accepted within ``window`` seconds (0: all).

        Returns the queues to ring once this is committed.
        """

    def claim(
        self, session: ServerSession, holder: Holder, queues: Sequence[str], limit: int
    ) -> tuple[dict[str, list[Claimed]], float | None]:
        """What was claimed from each queue, and when the next delayed message is due; in transactions of its own.

        Raises ``LeaseLost`` if the holder is not there.
        """

    def take_off(self, cursor: Any, owner: int, keys: Sequence[Key]) -> set[int]:
        """Delete those of these messages that are held; their tags."""

    def give_back(self, cursor: Any, owner: int, returns: Sequence[Return]) -> set[int]:
        """Give back those of these messages that are held; their tags."""

    def existing(self, cursor: Any, tags: Sequence[int]) -> set[int]:
        """Those of these messages that are there, whoever holds them."""

    def held(self, session: ServerSession, owner: int, tags: Sequence[int]) -> dict[int, int]:
        """The fence of each of these messages that the owner holds."""

    def join(self, cursor: Any, row: Sequence[Any]) -> int:
        """Insert a worker, or find it by its incarnation; its id."""

    def renew(self, cursor: Any, holder: Holder) -> int | None:
        """The largest fence of what it holds, 0 for nothing; None: the holder is not there."""

    def attend(self, cursor: Any, holder: Holder, queues: str) -> None:
        """Note which queues it consumes, as JSON."""

    def give_back_unseen(self, cursor: Any, holder: Holder, fence: int) -> None:
        """Give back what it holds with a larger fence than this one."""

    def give_back_all(self, cursor: Any, workers: Sequence[int], *, are_lost: bool) -> int:
        """Give back all that these workers hold, and forget them; how many. ``are_lost``: count that."""
