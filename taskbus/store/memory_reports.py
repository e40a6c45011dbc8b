"""Reports in this process, gone with it: for tests and for the memory broker."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.remark import Remark
from taskbus.store.named import Named
from taskbus.store.reports import (
    KEEP_ANSWERS,
    KEEP_MINUTES,
    KEEP_NODE,
    KEEP_RECORDS,
    MAX_INBOX,
    MAX_RECORD_BYTES,
    MAX_RECORDS,
    SWEEP_LIMIT,
    Answer,
    Inbox,
    Minute,
    Node,
    Order,
    Records,
    Report,
    whole_reports,
)


class MemoryReports:
    """A ``ReportStore`` without a database."""

    database = ""

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heads: dict[str, tuple[int, float]] = {}
        """The last report of every node that something may be kept of: its number, and when it was."""
        self._nodes: dict[str, Node] = {}
        self._minutes: dict[tuple[str, int], Minute] = {}
        self._records: deque[tuple[float, Records]] = deque()
        self._record_bytes = 0
        self._orders: dict[int, Order] = {}
        self._last_order = 0
        self._answers: dict[tuple[int, str], tuple[float, Answer]] = {}
        self._paused: set[str] = set()
        self._watched_until = 0.0

    def post(self, report: Report, orders_after: int, answers: Sequence[Answer] = ()) -> Inbox:
        with self._lock:
            if report.number > self._heads.get(report.node, (0, 0.0))[0]:
                self._take(report)
            for answer in answers:
                self._answers.setdefault((answer.order, answer.node), (report.at, answer))
            return self._inbox(report.node, orders_after)

    def inbox(self, node: str, orders_after: int = 0) -> Inbox:
        with self._lock:
            return self._inbox(node, orders_after)

    def _inbox(self, node: str, orders_after: int) -> Inbox:
        now = self._clock()
        found = [
            order
            for number, order in self._orders.items()
            if number > orders_after and order.until > now and order.node in ("", node)
        ]
        return Inbox(found[:MAX_INBOX], frozenset(self._paused), self._watched_until)

    def _take(self, report: Report) -> None:
        node, number, at = report.node, report.number, report.at
        self._heads[node] = number, at
        if report.is_last:
            self._nodes.pop(node, None)
        else:
            self._nodes[node] = Node(node, number, at, report.state)
        for minute, totals in report.minutes.items():
            self._minutes[node, minute] = Minute(node, minute, number, totals)
        if report.records:
            self._records.append((at, Records(node, number, report.records)))
            self._record_bytes += len(report.records)
            while len(self._records) > MAX_RECORDS or self._record_bytes > MAX_RECORD_BYTES:
                self._drop_records()

    def _drop_records(self) -> None:
        _, records = self._records.popleft()
        self._record_bytes -= len(records.records)

    # --- reading -------------------------------------------------------------------------------------------------

    def nodes(self) -> Sequence[Node]:
        with self._lock:
            return [self._nodes[name] for name in sorted(self._nodes)]

    def minutes(self, seen: Mapping[str, int], limit: int = 5000) -> Sequence[Minute]:
        with self._lock:
            found = [each for each in self._minutes.values() if each.number > seen.get(each.node, 0)]
        found.sort(key=lambda each: (each.node, each.number, each.minute))
        while (whole := whole_reports(found[: limit + 1], limit)) is None:
            limit *= 2
        return whole

    def records(self, seen: Mapping[str, int], limit: int = 1000) -> Sequence[Records]:
        with self._lock:
            found = [each for _, each in self._records if each.number > seen.get(each.node, 0)]
        return sorted(found, key=lambda each: (each.node, each.number))[:limit]

    # --- orders and pauses ---------------------------------------------------------------------------------------

    def order(self, order: bytes, now: float, *, node: str = "", ttl: float = 60.0) -> int:
        with self._lock:
            self._last_order = number = max(self._last_order + 1, int(now * 1e6))
            self._orders[number] = Order(number, node, order, now + ttl)
            return number

    def answers(self, order: int) -> Sequence[Answer]:
        with self._lock:
            found = [answer for _, answer in self._answers.values() if answer.order == order]
        return sorted(found, key=lambda each: each.node)

    def pause(self, queue: str) -> bool:
        with self._lock:
            is_new = queue not in self._paused
            self._paused.add(queue)
            return is_new

    def resume(self, queue: str) -> bool:
        with self._lock:
            was_paused = queue in self._paused
            self._paused.discard(queue)
            return was_paused

    def paused(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._paused)

    def watch(self, until: float) -> None:
        with self._lock:
            self._watched_until = max(self._watched_until, until)

    # --- housekeeping --------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> int:
        with self._lock:
            silent = [name for name, node in self._nodes.items() if node.at < now - KEEP_NODE]
            old = [key for key in self._minutes if key[1] * 60 < now - KEEP_MINUTES]
            over = [number for number, order in self._orders.items() if order.until <= now]
            answered = [key for key, (at, _) in self._answers.items() if at < now - KEEP_ANSWERS]
            left = SWEEP_LIMIT
            left -= _drop(self._nodes, silent, left)
            left -= _drop(self._minutes, old, left)
            left -= _drop(self._orders, over, left)
            left -= _drop(self._answers, answered, left)
            while left and self._records and self._records[0][0] < now - KEEP_RECORDS:
                self._drop_records()
                left -= 1
            ended = [name for name, (_, at) in self._heads.items() if at < now - KEEP_MINUTES]
            left -= _drop(self._heads, [name for name in ended if name not in self._nodes], left)
            return SWEEP_LIMIT - left

    def examine(self) -> Sequence[Remark]:
        return []

    def close(self) -> None:
        """Nothing to release."""


def _drop(rows: dict[Any, Any], keys: Sequence[Any], limit: int) -> int:
    for key in keys[:limit]:
        del rows[key]
    return len(keys[:limit])


_named: Named[MemoryReports] = Named()


def open_url(url: str, clock: Clock) -> MemoryReports:
    """The reports of that name in this process; they last as long as someone holds them."""
    return _named.get(url, lambda: MemoryReports(clock))
