"""Changes of flows as the payload that ``redis_flow_changes.lua`` reads; pure. Nobody else knows its form."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from taskbus.store import redis_flow_records as records
from taskbus.store.flows import (
    AddNodes,
    BeginFlow,
    CancelFlow,
    EndNode,
    Flow,
    Node,
    NodeState,
    PauseNode,
    ReplaceNode,
    ReviveNode,
    SealFlow,
)
from taskbus.store.redis_flow_records import Standing
from taskbus.store.redis_records import Pack, pack_raw, place_of, to_bytes

AT_ONCE, AT_ONCE_BYTES = 2000, 4 << 20
"""Nodes of a flow begun by one script, which keeps Redis from everyone else. More are put there before, by others."""
KEPT_BEFORE = 3600
"""Seconds after which Redis deletes nodes whose flow was not begun after all."""
MEMBERS = 128
"""Members of a join that are kept together; redis_flow_nodes.lua knows it too."""

Packed = tuple[Any, ...]
"""A change: its letter, the flow's id, what else it takes."""
Pair = tuple[bytes, bytes]


class Plan:
    """What a flow is begun with, as it is kept. All that is known before is found out here: a script must be quick.

    ``joins``: those that may have ended at once; ``tasks``: those to publish by the same step. ``state``: how it
    stands.
    """

    def __init__(self, given: Sequence[Node], pack: Pack) -> None:
        nodes: dict[str, Node] = {}
        self._kids: dict[str, list[bytes]] = {}
        self._members: dict[str, list[bytes]] = {}
        for node in given:
            if nodes.setdefault(node.id, node) is node:
                if node.after:
                    self._kids.setdefault(node.after, []).append(to_bytes(node.id))
                if node.join:
                    self._members.setdefault(node.join, []).append(to_bytes(node.id))
        counts = {NodeState.WAITING: 0, NodeState.READY: 0}
        self.nodes: list[Pair] = []
        for node in nodes.values():
            standing = self._standing(node)
            self.nodes.append((to_bytes(node.id), records.from_node(node, standing, pack)))
            if node.is_counted:
                counts[standing.state] += 1
        self.rest = list(self._rest(nodes))
        self.state = records.from_counts(len(nodes), counts)
        roots = [node for node in nodes.values() if not node.after]
        self.joins = [to_bytes(node.id) for node in roots if node.is_join and node.size == 0]
        self.tasks = [to_bytes(node.id) for node in roots if node.task and node.wire]

    def _standing(self, node: Node) -> Standing:
        members = 0 if node.task else len(self._members.get(node.id, ()))
        return Standing(
            state=NodeState.WAITING if node.after else NodeState.READY,
            left=members if node.size < 0 else node.size,
            members=members,
            has_kids=node.id in self._kids,
        )

    def _rest(self, nodes: dict[str, Node]) -> Iterator[Pair]:
        for node in nodes.values():
            name = to_bytes(node.id)
            if node.wire:
                yield b"w" + name, node.wire
            if node.id in self._kids:
                yield b"k" + name, pack_raw(self._kids[node.id])
            if node.is_join:
                members = self._members.get(node.id, ())
                for start in range(0, len(members), MEMBERS):
                    yield b"m%d:%b" % (start // MEMBERS, name), pack_raw(members[start : start + MEMBERS])

    @property
    def is_large(self) -> bool:
        """Whether it is more than one script should write."""
        return len(self.nodes) > AT_ONCE or sum(len(value) for _, value in self.rest) > AT_ONCE_BYTES

    def parts(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Nodes and the rest, as names and values, in parts of a bounded size."""
        nodes: list[bytes] = []
        rest: list[bytes] = []
        size = 0
        for to, pairs in ((nodes, self.nodes), (rest, self.rest)):
            for pair in pairs:
                to += pair
                size += len(pair[1])
                if len(nodes) + len(rest) >= 2 * AT_ONCE or size >= AT_ONCE_BYTES:
                    yield list(nodes), list(rest)
                    nodes.clear()
                    rest.clear()
                    size = 0
        if nodes or rest:
            yield nodes, rest


def pack_begin(change: BeginFlow, pack: Pack) -> Iterator[Packed]:
    """The change that begins a flow, after those that put its nodes there before, each by a step of its own."""
    plan = Plan(change.nodes, pack)
    name = to_bytes(change.flow.id)
    nodes, rest, before = _flat(plan.nodes), _flat(plan.rest), 0
    if plan.is_large:
        for part in plan.parts():
            yield "N", name, *part, KEPT_BEFORE
        nodes, rest, before = [], [], len(plan.nodes)
    yield "B", *_flow(change.flow, plan.state, pack), nodes, rest, plan.joins, plan.tasks, before


def pack_change(change: Any, pack: Pack) -> Packed:
    """Any other change."""
    return _PACKERS[type(change)](change, pack)


def size_of(packed: Packed) -> int:
    """About how many bytes a change takes in a payload."""
    return sum(map(_size, packed))


def _size(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 0


def _flow(flow: Flow, state: bytes, pack: Pack) -> tuple[bytes, bytes, bytes, bytes]:
    return to_bytes(flow.id), records.from_flow(flow, pack), state, place_of(flow.sent_at)


def _flat(pairs: Sequence[Pair]) -> list[bytes]:
    return [each for pair in pairs for each in pair]


def _given(nodes: Sequence[Node], pack: Pack) -> list[tuple[bytes, bytes, bytes]]:
    """Nodes as they are added: what they are joined with is found out by the script."""
    unique: dict[str, Node] = {}
    for node in nodes:
        unique.setdefault(node.id, node)
    return [
        (
            to_bytes(node.id),
            records.from_node(node, Standing(NodeState.WAITING, max(0, node.size)), pack),
            node.wire,
        )
        for node in unique.values()
    ]


def _add(change: AddNodes, pack: Pack) -> Packed:
    return "A", to_bytes(change.flow), _given(change.nodes, pack)


def _replace(change: ReplaceNode, pack: Pack) -> Packed:
    return "R", *_flow(change.flow, records.from_counts(0, {}), pack), _given(change.nodes, pack)


def pack_end(change: EndNode, pack: Pack) -> tuple[bytes, int, float, bytes]:
    """The end of a node, as it stands in the list of those of its flow."""
    if change.failure is not None:
        kept = records.from_failure(change.failure, pack)
    elif change.state is NodeState.SUCCESS:
        kept = records.from_value(change.value, change.content_type, pack)
    else:
        kept = b""
    return to_bytes(change.node), records.number_of(change.state), change.at, kept


_PACKERS: dict[type, Callable[[Any, Pack], Packed]] = {
    AddNodes: _add,
    ReplaceNode: _replace,
    SealFlow: lambda change, _: ("S", to_bytes(change.flow), to_bytes(change.join)),
    ReviveNode: lambda change, _: ("V", to_bytes(change.flow), to_bytes(change.node), change.is_sent),
    CancelFlow: lambda change, _: ("C", to_bytes(change.flow), list(map(to_bytes, change.nodes))),
    PauseNode: lambda change, _: ("P", to_bytes(change.flow), to_bytes(change.node)),
}
