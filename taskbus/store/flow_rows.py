"""Flows and nodes as one step works on them: loaded when they are asked for, written together at the end of it.

Whoever works on a flow holds its lock, so that a node is only ever changed by one step at a time, and two that end the
last two members of a join cannot both miss its end. What is asked of a store for that is ``Shelf``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taskbus.message import Recorded
from taskbus.outcome import Failure
from taskbus.store.base import SaveResult, StoredResult
from taskbus.store.flows import ENDED, Flow, FlowState, FlowView, Node, NodeState, NodeView, sealed, task_state

Key = tuple[str, str]
"""A flow's id and a node's."""
OPEN = (NodeState.WAITING, NodeState.READY, NodeState.STARTED)
FAILED = frozenset((NodeState.FAILURE, NodeState.REVOKED))


@dataclass(slots=True)
class FlowRow:
    """A flow. ``counts``, ``dead``: see ``FlowView``; ``joins``: how many of what is not counted have not ended.

    ``number``: what a store calls it. ``is_new``: it was begun by this step, so that nothing of it is on the shelf yet.
    """

    flow: Flow
    state: FlowState = FlowState.RUNNING
    is_cancelled: bool = False
    ended_at: float = 0.0
    counts: dict[NodeState, int] = field(default_factory=dict)
    dead: int = 0
    joins: int = 0
    number: int = 0
    is_new: bool = False

    def view(self) -> FlowView:
        """As others see it."""
        counts = {state: count for state, count in self.counts.items() if count}
        return FlowView(self.flow, self.state, counts, self.is_cancelled, self.ended_at, self.dead)


@dataclass(slots=True)
class Row:
    """A node. ``left`` and ``failed``: of a join, how many members have not ended, and how many stand as failed.

    Both count on after the join has ended, so that a member may be revived. Of a task ``left`` says whether it rests.
    ``value`` is only there where it was asked for or has just come, ``node.wire`` only where ``has_wire``.
    """

    flow: str
    node: Node
    state: NodeState = NodeState.WAITING
    started_at: float = 0.0
    copy: str = ""
    ended_at: float = 0.0
    value: bytes | None = None
    content_type: str = "msgpack"
    failure: Failure | None = None
    cause: str = ""
    left: int = 0
    failed: int = 0
    is_sealed: bool = False
    has_wire: bool = True

    @property
    def key(self) -> Key:
        return self.flow, self.node.id

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def view(self) -> NodeView:
        """As others see it: a join that has not ended has neither failure nor cause yet."""
        failure, cause = (self.failure, self.cause) if self.has_ended else (None, "")
        left = 0 if self.has_ended or self.node.task else max(0, self.left)
        return NodeView(self.node, self.state, self.started_at, self.ended_at, failure, cause, left)


class Shelf(Protocol):
    """Where flows are kept, within one transaction. What is returned is the caller's own, to be changed."""

    def lock(self, flow_ids: Sequence[str], begun: Sequence[Flow]) -> tuple[float, Sequence[FlowRow]]:
        """The present instant, and those flows, locked in the order of their ids until the transaction ends.

        ``begun`` are made before, if they are not there: ``is_new`` then.
        """

    def drop(self, begun: Sequence[str]) -> None:
        """Take back what ``lock`` made."""

    def load(self, keys: Sequence[Key]) -> Sequence[Row]:
        """Nodes of locked flows, without ``value`` and ``wire``."""

    def kept(self, keys: Sequence[Key]) -> Sequence[Row]:
        """The same, with ``value``."""

    def after(self, keys: Sequence[Key]) -> Sequence[Row]:
        """The nodes that wait for these, by their ids; with ``wire``."""

    def members(self, keys: Sequence[Key]) -> Sequence[Row]:
        """The members of these joins, by ``(place, id)``; with ``value``."""

    def wires(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """What to publish for these nodes."""

    def write(self, work: "Work") -> None:
        """Keep what ``work`` changed."""


class Work:
    """What one step has loaded and changed."""

    def __init__(self, shelf: Shelf, flow_ids: Iterable[str], begun: Sequence[Flow] = ()) -> None:
        self.shelf = shelf
        self.now, flows = shelf.lock(sorted(set(flow_ids)), begun)
        self.flows = {row.flow.id: row for row in flows}
        self.new: dict[Key, Row] = {}
        self.replaced: dict[Key, Row] = {}
        """Rows that are put in the place of those that are there."""
        self.changed: dict[Key, Row] = {}
        self.results: dict[str, SaveResult] = {}
        self.forgotten: dict[str, None] = {}
        self._rows: dict[Key, Row | None] = {}
        self._waiting: dict[Key, list[Row]] = {}
        self._touched: dict[str, FlowRow] = {}
        self._ready: dict[Key, tuple[Row, float]] = {}

    # --- finding ---

    def load(self, keys: Iterable[Key]) -> None:
        """Have these at hand, all by one question."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._rows and self._is_on_shelf(key)]
        if missing:
            self._rows.update(dict.fromkeys(missing))
            for row in self.shelf.load(missing):
                self._rows[row.key] = row

    def row(self, key: Key) -> Row | None:
        """One of those that were loaded or made."""
        return self._rows.get(key)

    def joins_of(self, rows: Iterable[Row]) -> list[Row]:
        """The joins that these are members of, each once."""
        keys = dict.fromkeys((row.flow, row.node.join) for row in rows if row.node.join)
        self.load(keys)
        return [join for key in keys if (join := self._rows.get(key)) is not None]

    def after(self, rows: Iterable[Row]) -> Mapping[Key, Sequence[Row]]:
        """What waits for these, by the key of what it waits for."""
        keys = [row.key for row in rows]
        found: dict[Key, list[Row]] = {}
        asked = [key for key in dict.fromkeys(keys) if self._is_on_shelf(key)]
        for row in self.shelf.after(asked) if asked else ():
            known = self._known(row)
            if known.node.after == row.node.after and known.key not in self.replaced:
                found.setdefault((row.flow, row.node.after), []).append(known)
        for key in keys if self._waiting else ():
            if key in self._waiting:
                found.setdefault(key, []).extend(self._waiting[key])
        return found

    def members(self, joins: Iterable[Row]) -> list[Row]:
        """The members of joins, made by this step or before."""
        keys = {join.key for join in joins}
        asked = [key for key in keys if self._is_on_shelf(key)]
        found = {row.key: self._known(row) for row in (self.shelf.members(asked) if asked else ())}
        made = {key: row for key, row in self.new.items() if (row.flow, row.node.join) in keys}
        return list({**found, **made}.values())

    def _known(self, row: Row) -> Row:
        """The row as it is by now, of one that was just read."""
        known = self._rows.get(row.key)
        if known is None:
            known = self._rows[row.key] = row
        elif row.has_wire and not known.has_wire:
            known.node, known.has_wire = known.node._replace(wire=row.node.wire), True
        return known

    def _is_on_shelf(self, key: Key) -> bool:
        flow = self.flows.get(key[0])
        return flow is not None and not flow.is_new

    # --- changing ---

    def add(self, row: Row) -> None:
        """A node that is not there."""
        self._rows[row.key] = self.new[row.key] = row
        self._wait(row)
        self._count(row, 1)

    def replace(self, row: Row) -> None:
        """A node in the place of the one with its key."""
        before = self._rows[row.key]
        assert before is not None
        self._count(before, -1)
        self._count(row, 1)
        self._rows[row.key] = row
        self.changed.pop(row.key, None)
        (self.new if row.key in self.new else self.replaced)[row.key] = row
        if before.node.after:
            waiting = self._waiting.get((row.flow, before.node.after), [])
            waiting[:] = [each for each in waiting if each is not before]
        self._wait(row)

    def _wait(self, row: Row) -> None:
        if row.node.after:
            self._waiting.setdefault((row.flow, row.node.after), []).append(row)

    def change(self, row: Row) -> None:
        """Something of this row is to be written."""
        key = row.key
        if key not in self.new and key not in self.replaced:
            self.changed[key] = row

    def stand(self, row: Row, state: NodeState) -> None:
        """Change a node's state, and how many of its flow are in it."""
        self._count(row, -1)
        row.state = state
        self._count(row, 1)
        self.change(row)

    def _count(self, row: Row, by: int) -> None:
        flow = self._touched[row.flow] = self.flows[row.flow]
        if row.node.is_counted:
            flow.counts[row.state] = flow.counts.get(row.state, 0) + by
            flow.dead += by * (row.state is NodeState.FAILURE and not row.cause)
        elif not row.has_ended:
            flow.joins += by

    def end(self, row: Row, state: NodeState, at: float, failure: Failure | None = None, cause: str = "") -> None:
        """A node ends."""
        self._count(row, -1)
        row.state, row.ended_at, row.failure, row.cause = state, at, failure, cause
        self._count(row, 1)
        self.change(row)

    def end_unrun(self, row: Row, state: NodeState, at: float, failure: Failure | None = None, cause: str = "") -> None:
        """A node ends without having run: whoever waits for its result learns it."""
        self.end(row, state, at, failure, cause)
        node = row.node
        if node.task and node.result_ttl > 0:
            said = StoredResult(node.id, node.task, task_state(state), failure=failure, finished_at=at)
            self.results[node.id] = SaveResult(said, node.result_ttl)

    def forget(self, row: Row) -> None:
        """It has no result any more."""
        if row.node.task:
            self.results.pop(row.node.id, None)
            self.forgotten[row.node.id] = None

    def cancel(self, flow: FlowRow) -> None:
        """Nothing of it is made READY from now on."""
        flow.is_cancelled = True
        self._touched[flow.flow.id] = flow

    def begins(self, flow: FlowRow) -> bool:
        """Whether its nodes are still to be added: it is new, and this is asked for the first time."""
        if not flow.is_new or flow.flow.id in self._touched:
            return False
        self._touched[flow.flow.id] = flow
        return True

    def publish(self, row: Row, at: float) -> None:
        """Its message is to be published, READY as it is at that instant."""
        if not row.has_wire or row.node.wire:
            self._ready.setdefault(row.key, (row, at))

    # --- the end of the step ---

    @property
    def touched(self) -> Sequence[FlowRow]:
        """The flows of which something changed, but for their nodes."""
        return list(self._touched.values())

    def abandon(self) -> None:
        """Leave everything as it was."""
        if begun := [flow.flow.id for flow in self.flows.values() if flow.is_new]:
            self.shelf.drop(begun)

    def close(self) -> Recorded:
        """Write it all, and say what is to be published."""
        self._end_flows()
        ready = [(row, at) for row, at in self._ready.values() if row.state is NodeState.READY]
        unread = [row.key for row, _ in ready if not row.has_wire]
        if unread:
            wires = self.shelf.wires(unread)
            for row, _ in ready:
                if not row.has_wire:
                    row.node, row.has_wire = row.node._replace(wire=wires.get(row.key, b"")), True
        self.shelf.write(self)
        return Recorded([sealed(row.node, at) for row, at in ready if row.node.wire])

    def _end_flows(self) -> None:
        """A flow has ended when all its nodes have, and goes on when one was revived."""
        ending = []
        for flow in self._touched.values():
            is_open = flow.joins > 0 or any(flow.counts.get(state) for state in OPEN)
            if is_open and flow.state is not FlowState.RUNNING:
                flow.state, flow.ended_at = FlowState.RUNNING, 0.0
            elif not is_open and flow.state is FlowState.RUNNING:
                ending.append(flow)
        self.load((flow.flow.id, flow.flow.last) for flow in ending if flow.flow.last)
        for flow in ending:
            last = self.row((flow.flow.id, flow.flow.last))
            flow.state, flow.ended_at = _end_of(flow, last), self.now


def _end_of(flow: FlowRow, last: Row | None) -> FlowState:
    if last is not None:
        return FlowState.SUCCESS if last.state is NodeState.SKIPPED else FlowState(last.state.value)
    if flow.counts.get(NodeState.FAILURE):
        return FlowState.FAILURE
    return FlowState.REVOKED if flow.counts.get(NodeState.REVOKED) else FlowState.SUCCESS
