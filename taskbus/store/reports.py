"""The port of what processes say of themselves, and are told: rows in, rows out.

Every worker, beat and page is a *node*, under a name of its own that is never used again. Once a second it *reports*:
what it is doing now, what it has counted in the minutes since it last could, and records of single tasks. What it says
of a minute replaces what it said before, so that reading it twice, or late, counts nothing twice and misses nothing;
and its reports are numbered, so that whoever follows knows by one number a node what he has seen.

The other way go *orders*: to one node, or to all that there are and will be until the order expires. Queues that are
paused are no orders but a state, which every worker reads with each report.

What is in the bytes is said once, in ``taskbus.monitor.report``.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from taskbus.database.remark import Remark

KEEP_NODE = 120.0
"""Seconds after its last report, at which a node that did not say goodbye is forgotten."""
KEEP_MINUTES = 72 * 3600.0
"""Seconds for which what was counted in a minute is kept for those who follow."""
KEEP_RECORDS = 6 * 3600.0
"""Seconds for which records of single tasks are kept for those who follow."""
MAX_RECORDS = 100_000
"""Bundles of records that are kept at most, over all nodes; the oldest go first."""
MAX_RECORD_BYTES = 64 << 20
"""Bytes of records that are kept at most where they are kept in memory: they must not crowd out what has a price."""
KEEP_ANSWERS = 3600.0
"""Seconds for which an answer to an order is kept."""
MAX_INBOX = 1000
"""Orders that a node hears at once; it hears the others in answer to its next reports."""
SWEEP_LIMIT = 1000
"""Rows that ``sweep`` deletes at most."""


class Report(NamedTuple):
    """What a node says, once a second or so. ``number`` counts up from 1; ``at`` is an instant by the node's clock.

    ``minutes``: by minute (Unix seconds // 60), all that the node has counted in it so far. ``records``: what happened
    to single tasks since the last report, empty if nothing. ``is_last``: it says goodbye, and is listed no more. A node
    reports in the order of its numbers; one that is not larger than its last is the report of old, and changes nothing.
    """

    node: str
    number: int
    at: float
    state: bytes
    minutes: Mapping[int, bytes] = {}
    records: bytes = b""
    is_last: bool = False


class Node(NamedTuple):
    """A node as it last said that it is."""

    node: str
    number: int
    at: float
    state: bytes


class Minute(NamedTuple):
    """What a node has counted in a minute, as of its report ``number``."""

    node: str
    minute: int
    number: int
    totals: bytes


class Records(NamedTuple):
    """The records that came with one report."""

    node: str
    number: int
    records: bytes


class Order(NamedTuple):
    """Something to be done. ``node`` "": by every node; ``number`` grows with every order, over all of a store.

    Who has seen a number has been able to see all smaller ones. They go on growing where a database has lost the last
    one: they are the microseconds of the instant of ordering, or one more than the last. (Less than 2**53 until 2255.)

    Whoever starts before ``until`` is told too: that is what makes a revocation outlive a worker.
    """

    number: int
    node: str
    order: bytes
    until: float


class Answer(NamedTuple):
    """What a node says to an order."""

    order: int
    node: str
    answer: bytes


class Inbox(NamedTuple):
    """What a node hears in answer to a report: orders it has not heard yet, oldest first; and which queues are paused.

    ``watched_until``: up to when somebody is looking at a page; until then a node reports every second.
    """

    orders: Sequence[Order]
    paused: frozenset[str]
    watched_until: float = 0.0


class ReportStore(Protocol):
    """For any thread. Every method is atomic, and all may raise ``StoreError``; ``now`` is the caller's time.

    A power failure may take reports of the last second, but no order and no pause, where the database can tell them
    apart. Where a connection broke, ``pause`` and ``resume`` may say False of what was done.
    """

    database: str

    def post(self, report: Report, orders_after: int, answers: Sequence[Answer] = ()) -> Inbox:
        """Take a report, and say what there is for its node: orders with a larger number than ``orders_after``.

        One round trip where the database can. Taking the same report again changes nothing.
        """

    def inbox(self, node: str, orders_after: int = 0) -> Inbox:
        """What ``post`` would answer to this node; writes nothing."""

    def nodes(self) -> Sequence[Node]:
        """Every node that has reported and not said goodbye, by name."""

    def minutes(self, seen: Mapping[str, int], limit: int = 5000) -> Sequence[Minute]:
        """What was counted by reports with a larger number than ``seen`` has for their node (0 if it has none).

        Each node's in the order of their numbers. About ``limit`` at most: those of one report are never torn apart, so
        that the largest number of each node is what it has been seen up to. Less than ``limit``: there are no more.
        """

    def records(self, seen: Mapping[str, int], limit: int = 1000) -> Sequence[Records]:
        """As ``minutes``, for records: each node's in their order, ``limit`` bundles at most."""

    def order(self, order: bytes, now: float, *, node: str = "", ttl: float = 60.0) -> int:
        """Tell a node, or all, to do something; the order's number.

        A ``StoreError`` because the connection broke says nothing of whether it will be heard; it is never heard twice.
        """

    def answers(self, order: int) -> Sequence[Answer]:
        """What was said to it so far."""

    def pause(self, queue: str) -> bool:
        """Let no worker fetch from a queue until it is resumed; False if it was already."""

    def resume(self, queue: str) -> bool:
        """End a pause; False if there was none."""

    def paused(self) -> frozenset[str]:
        """The queues that are paused."""

    def watch(self, until: float) -> None:
        """Say that somebody is looking until then; never takes back what was said before."""

    def sweep(self, now: float) -> int:
        """Delete some of what is older than is kept (see the constants above); how many rows, ``SWEEP_LIMIT`` at most.

        A node that comes back after it was forgotten goes on with its numbers.
        """

    def examine(self) -> Sequence[Remark]:
        """What the database's live settings mean for reports; asks, and changes nothing."""

    def close(self) -> None:
        """Close this thread's connection; those of others close with their threads. Using it again opens another."""


def whole_reports(found: Sequence[Minute], limit: int) -> Sequence[Minute] | None:
    """The first ``limit`` of ``found``, of which there is one more if any was left out, without a part of a report.

    None if the first report alone has more: ask for more.
    """
    if len(found) <= limit:
        return found
    torn = found[limit]
    whole = [each for each in found[:limit] if (each.node, each.number) != (torn.node, torn.number)]
    return whole or None
