"""What is now, from what processes report: rates of the last quarter of an hour, and quantiles of the last minute.

All in memory, and of a size that does not depend on how much happens: totals in, differences out.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskbus.history.record_rows import read_rows
from taskbus.history.rings import LASTING, Ring, Slots
from taskbus.history.shapes import (
    LiveNode,
    LiveQueue,
    LiveRunning,
    LiveSnapshot,
    LiveType,
    Rates,
    Series,
    TaskRow,
)
from taskbus.history.tally import Key, read_totals
from taskbus.history.totals import SHARES, quantiles_of
from taskbus.monitor.report import MAX_RUNNING, NodeState, Running, Total, unpack_state
from taskbus.store.reports import Minute, Node, Records

ALIVE_FOR = 30.0
"""Seconds after its last report for which a node counts as alive."""
TAIL = 50
FRESH = 15.0
"""Seconds after which the end of a task is no news."""
MOST_NAMES = 1000
"""Tasks, and queues, that have a chart of seconds of their own; the rest are in the sum alone."""
RATED = ("received", "succeeded", "failed", "retried")
_LOST = ("failed", "rejected", "expired")
_ENDS = ("succeeded", "retried", "failed", "rejected", "revoked", "expired", "crashed")
OVER = 10
"""Seconds over which rates are told."""
_SPREAD = 60.0


class _Told(NamedTuple):
    """What a node last said, and when it was heard."""

    number: int
    at: float
    heard_at: float
    state: NodeState
    cpu_share: float


class Live:
    """Fed by ``take``, read by ``snapshot`` and ``seconds``; by one thread at a time, to which the caller sees."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._minutes: dict[str, dict[int, tuple[int, dict[Key, Total]]]] = {}
        self._rates: dict[str, float] = {}
        self._all = Ring(len(RATED))
        self._tasks: dict[str, Ring] = {}
        self._queues: dict[str, Ring] = {}
        self._slots = Slots()
        self._tail: list[TaskRow] = []
        self._ended = 0
        self._began_at = 0.0

    # --- what comes in -------------------------------------------------------------------------------------------

    def take(self, now: float, minutes: Sequence[Minute], records: Sequence[Records]) -> None:
        """Count what nodes said, however often it is handed over. What comes first says only where they are."""
        is_first = not self._began_at
        self._began_at = self._began_at or now
        oldest = int(now // 60) - 1
        for minute in minutes:
            if minute.minute >= oldest:
                self._count(minute, now, is_first=is_first)
        for bundle in reversed(records):
            if len(self._tail) >= TAIL:
                break
            rows = [row for row in read_rows(bundle.records) if row.ended_at > now - FRESH]
            self._tail = [*rows[len(self._tail) - TAIL :], *self._tail]

    def _count(self, said: Minute, now: float, *, is_first: bool) -> None:
        known = self._minutes.setdefault(said.node, {})
        number, before = known.get(said.minute, (0, {}))
        if said.number <= number:
            return
        try:
            totals = {(total.task, total.queue): total for total in read_totals(said.totals)}
        except ValueError:  # whoever merges it says so
            return
        known[said.minute] = said.number, totals
        for minute in [each for each in known if each < said.minute - 1]:
            del known[minute]
        if is_first:
            return
        seconds = self._since(said.node, now)
        ended = 0
        for key, total in totals.items():
            old = before.get(key)
            if old is None or old.counts != total.counts:
                ended += self._add(key, total, old, now, seconds)
        self._rates[said.node] = ended / seconds
        self._ended += ended

    def _since(self, node: str, now: float) -> float:
        """Seconds that what it says now is about."""
        told = self._told.get(node)
        return min(_SPREAD, max(1.0, now - told.heard_at)) if told else 1.0

    def _add(self, key: Key, total: Total, old: Total | None, now: float, seconds: float) -> int:
        more = {name: max(0, count - (old.counts.get(name, 0) if old else 0)) for name, count in total.counts.items()}
        lost = sum(more.get(name, 0) for name in _LOST)
        rated = [more.get(name, 0) for name in RATED]
        rated[RATED.index("failed")] = lost
        rated[RATED.index("received")] -= more.get("given_back", 0)  # of an earlier second, maybe: see Ring
        for ring in self._rings(key):
            ring.add(now, rated, seconds)
        waits = total.waits if old is None else total.waits.minus(old.waits)
        runs = total.runs if old is None else total.runs.minus(old.runs)
        self._slots.add(now, key[0], waits, runs, lost)
        return sum(more.get(name, 0) for name in _ENDS)

    def _rings(self, key: Key) -> Iterable[Ring]:
        yield self._all
        for rings, name in ((self._tasks, key[0]), (self._queues, key[1])):
            ring = rings.get(name)
            if ring is None and len(rings) < MOST_NAMES:
                ring = rings[name] = Ring(len(RATED))
            if ring is not None:
                yield ring

    # --- what goes out -------------------------------------------------------------------------------------------

    def snapshot(self, now: float, nodes: Sequence[Node], error: str = "") -> LiveSnapshot:
        """What is now, ``nodes`` being those that there are. The tail is told once."""
        self._hear(now, nodes)
        self._slots.turn(now)
        self._forget(now)
        shown = [self._node(node.node, now) for node in nodes]
        alive = [each for each in shown if each.is_alive]
        waits, runs = self._slots.last_minute()
        tail, self._tail, ended, self._ended = self._tail, [], self._ended, 0
        return LiveSnapshot(
            now,
            Rates(*self._all.rates(now, OVER)),
            quantiles_of(waits),
            quantiles_of(runs),
            self._types(now),
            self._queues_of(now, alive),
            shown,
            _running(alive),
            sum(each.state.active for each in alive),
            tail,
            max(0, ended - len(tail)),
            max((each.state.sampled for each in alive), default=1),
            sum(each.state.dropped for each in shown),
            error,
        )

    def _hear(self, now: float, nodes: Sequence[Node]) -> None:
        told: dict[str, _Told] = {}
        for node in nodes:
            before = self._told.get(node.node)
            if before is not None and before.number == node.number:
                told[node.node] = before
                continue
            state = _state(node.state)
            share = before.cpu_share if before else 0.0
            if before is not None and node.at > before.at:
                share = max(0.0, state.cpu - before.state.cpu) / (node.at - before.at)
            # Of one that was there before us, its own clock says when it reported.
            heard_at = now if before is not None or now - self._began_at > ALIVE_FOR else min(now, node.at)
            told[node.node] = _Told(node.number, node.at, heard_at, state, share)
        self._told = told

    def _forget(self, now: float) -> None:
        for node in [each for each in self._minutes if each not in self._told]:
            del self._minutes[node]
            self._rates.pop(node, None)
        for rings in (self._tasks, self._queues):
            for name in [name for name, ring in rings.items() if ring.is_empty(now)]:
                del rings[name]

    def _node(self, node: str, now: float) -> LiveNode:
        told = self._told[node]
        is_alive = now - told.heard_at < ALIVE_FOR
        is_idle = not is_alive or now - told.heard_at > OVER
        rate = 0.0 if is_idle else self._rates.get(node, 0.0)
        return LiveNode(node, told.state, told.at, is_alive, told.cpu_share, rate)

    def _types(self, now: float) -> list[LiveType]:
        types = []
        for task, ring in self._tasks.items():
            _, succeeded, failed, _ = ring.rates(now, OVER)
            runs, lost = self._slots.of_task(task)
            p50, p95, _ = runs.quantiles(SHARES)
            types.append(LiveType(task, succeeded + failed, lost, p50, p95))
        return sorted(types, key=lambda each: (-each.rate, each.task))

    def _queues_of(self, now: float, alive: Sequence[LiveNode]) -> list[LiveQueue]:
        workers: dict[str, int] = dict.fromkeys(self._queues, 0)
        running: dict[str, int] = {}
        for node in alive:
            for queue in node.state.queues:
                workers[queue] = workers.get(queue, 0) + 1
            for each in node.state.running:
                running[each[2]] = running.get(each[2], 0) + 1
        rates = {name: ring.rates(now, OVER) for name, ring in self._queues.items()}
        nothing = (0.0,) * len(RATED)
        return [
            LiveQueue(queue, sum(rates.get(queue, nothing)[1:3]), count, running.get(queue, 0))
            for queue, count in sorted(workers.items())
        ]

    # --- charts --------------------------------------------------------------------------------------------------

    def seconds(self, now: float, last: int, task: str | None = None, queue: str | None = None) -> Series:
        """See ``Collector.seconds``."""
        ring = self._all if task is None else self._tasks.get(task)
        if task is None and queue is not None:
            ring = self._queues.get(queue)
        instants, columns = (ring or Ring(len(RATED))).last(now, min(LASTING, last))
        nothing: list[float | None] = [None] * len(instants)
        return Series(1.0, instants, *([max(0.0, each) for each in column] for column in columns), *([nothing] * 6))

    def tens(self, now: float) -> Series:
        """The last quarter of an hour in steps of ten seconds, of all tasks; only steps that were seen whole."""
        instants, columns = self._all.last(now, LASTING)
        first = next((at for at, each in enumerate(instants) if each % 10 == 0 and each >= self._began_at), None)
        if first is None or not self._began_at:
            return Series(10.0, *([] for _ in range(11)))
        starts = list(range(first, len(instants) - len(instants[first:]) % 10, 10))
        sums = [[max(0.0, sum(column[at : at + 10])) / 10 for at in starts] for column in columns]
        measured = [self._slots.at(instants[at]) for at in starts]
        waits, runs = ([each[place].quantiles(SHARES) for each in measured] for place in (0, 1))
        quantiles = [[each[share] for each in of] for of in (waits, runs) for share in range(len(SHARES))]
        return Series(10.0, [instants[at] for at in starts], *sums, *quantiles)


def _state(packed: bytes) -> NodeState:
    """What a node says of itself; that it cannot be read is no reason not to show the others."""
    try:
        state = unpack_state(packed)
        state.active + state.sampled + state.dropped  # numbers, or it is of no use
        return state if state.cpu >= 0 else state._replace(cpu=0.0)
    except Exception:  # noqa: BLE001 (bytes of another process)
        return NodeState("unknown", "unreadable")


def _running(alive: Iterable[LiveNode]) -> list[LiveRunning]:
    """The attempts that have been running longest."""
    every = ((each[4], node.state.name, each) for node in alive for each in node.state.running)
    oldest = heapq.nsmallest(MAX_RUNNING, every, key=lambda each: each[0])
    return [LiveRunning(name, Running(*each)) for _, name, each in oldest]
