"""Flows in this process: the shelf of the store in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taskbus.clock import Clock
from taskbus.store.flow_rows import FlowRow, Key, Row, Work
from taskbus.store.flows import Flow, FlowState, FlowView, NodeView


@dataclass(slots=True)
class _Kept:
    """A flow with its nodes, and its edges the way they are walked."""

    row: FlowRow
    nodes: dict[str, Row] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)


class MemoryFlows:
    """See ``flow_rows.Shelf``. Whoever calls holds the store's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flows: dict[str, _Kept] = {}

    def lock(self, flow_ids: Sequence[str], begun: Sequence[Flow]) -> tuple[float, Sequence[FlowRow]]:
        made = [flow for flow in begun if self._alive(flow.id) is None]
        for flow in made:
            self._flows.pop(flow.id, None)
        found = [kept.row for flow_id in flow_ids if (kept := self._alive(flow_id)) is not None]
        rows = [replace(row, counts=dict(row.counts)) for row in found]
        return self._clock(), rows + [FlowRow(flow, is_new=True) for flow in made]

    def drop(self, begun: Sequence[str]) -> None:
        """Nothing was made yet."""

    def load(self, keys: Sequence[Key]) -> Sequence[Row]:
        found = (self._flows[flow].nodes.get(node) for flow, node in keys)
        return [replace(row) for row in found if row is not None]

    kept = load

    def after(self, keys: Sequence[Key]) -> Sequence[Row]:
        return [replace(kept.nodes[id]) for kept, node in self._each(keys) for id in sorted(kept.after.get(node, ()))]

    def members(self, keys: Sequence[Key]) -> Sequence[Row]:
        found = [replace(kept.nodes[id]) for kept, node in self._each(keys) for id in kept.members.get(node, ())]
        return sorted(found, key=lambda row: (row.node.place, row.node.id))

    def wires(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        return {row.key: row.node.wire for row in self.load(keys)}

    def write(self, work: Work) -> None:
        for flow in work.touched:
            kept = self._flows.setdefault(flow.flow.id, _Kept(flow))
            kept.row, flow.is_new = flow, False
        for row in work.replaced.values():
            kept = self._flows[row.flow]
            kept.after.get(kept.nodes[row.node.id].node.after, set()).discard(row.node.id)
        for row in (*work.new.values(), *work.replaced.values()):
            kept, node = self._flows[row.flow], row.node
            if node.after:
                kept.after.setdefault(node.after, set()).add(node.id)
            if node.join:
                kept.members.setdefault(node.join, set()).add(node.id)
        for row in (*work.new.values(), *work.replaced.values(), *work.changed.values()):
            self._flows[row.flow].nodes[row.node.id] = row

    # --- views ---

    def flow(self, flow_id: str) -> FlowView | None:
        """See ``FlowStore``."""
        kept = self._alive(flow_id)
        return None if kept is None else kept.row.view()

    def flows(self, limit: int, before: tuple[float, str] | None) -> Sequence[FlowView]:
        """See ``FlowStore``."""
        alive = [kept.row.view() for flow_id in self._flows if (kept := self._alive(flow_id)) is not None]
        placed = sorted(((view.flow.sent_at, view.flow.id), view) for view in alive)
        return [view for place, view in reversed(placed) if before is None or place < before][:limit]

    def nodes(self, flow_id: str, limit: int, after: str) -> Sequence[NodeView]:
        """See ``FlowStore``."""
        kept = self._alive(flow_id)
        ids = sorted(id for id in kept.nodes if id > after)[:limit] if kept is not None else ()
        return [kept.nodes[id].view() for id in ids] if kept is not None else []

    def sweep(self, now: float, limit: int) -> int:
        """Delete flows that are over, of at most so many nodes in all; how many nodes and flows."""
        deleted = 0
        for flow_id in [flow_id for flow_id, kept in self._flows.items() if self._is_over(kept, now)]:
            kept = self._flows[flow_id]
            for id in list(kept.nodes)[: limit - deleted]:
                del kept.nodes[id]
                deleted += 1
            if deleted == limit:
                break
            del self._flows[flow_id]
            deleted += 1
        return deleted

    def _alive(self, flow_id: str) -> _Kept | None:
        kept = self._flows.get(flow_id)
        return None if kept is None or self._is_over(kept, self._clock()) else kept

    def _is_over(self, kept: _Kept, now: float) -> bool:
        row = kept.row
        return row.state is not FlowState.RUNNING and row.ended_at + row.flow.ttl <= now

    def _each(self, keys: Iterable[Key]) -> Iterable[tuple[_Kept, str]]:
        return [(self._flows[flow], node) for flow, node in keys]
