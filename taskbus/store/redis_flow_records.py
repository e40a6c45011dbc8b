"""Flows and nodes as the bytes that are kept in Redis, and back; pure. redis_flow_bytes.lua and redis_flow_nodes.lua
know the same forms.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from struct import Struct
from typing import Any, NamedTuple

from taskbus.outcome import Failure
from taskbus.store.flows import Flow, FlowState, FlowView, Kept, Node, NodeState, NodeView, Policy, When
from taskbus.store.redis_records import Pack, to_bytes, to_id, unpack

STATES = tuple(NodeState)
"""Their places are the numbers that are kept; so are those of ``_WHENS`` and, from 1 on, of ``_POLICIES``."""
TASK = 0
CLOSED, OPEN, SEALED = range(3)
_WHENS = tuple(When)
_POLICIES = tuple(Policy)
_NUMBERS: dict[str, int] = {each: n for kind in (_WHENS, _POLICIES) for n, each in enumerate(kind)}
_FLOW_STATES = (FlowState.RUNNING, *(FlowState.__members__.get(state) for state in STATES[1:]))
_HEAD = Struct(">Bdd5BiIIi")
"""State; when it ended, was started; kind (0 a task, else a join's policy), when, gives (1 keeps, 2 takes), whether it
is open (a task: not counted), whether there are nodes after it; members left (of a task: 1 while it rests), failed, in
all; place. Then texts: copy, after, join, cause.
"""
_LENGTH = Struct(">H")
_STATE = Struct(">BBdd9I")
"""State, whether it is cancelled; when it ended, when it is over; nodes that have not ended; tasks by state; dead."""
_NOTHING = _LENGTH.pack(0)


class Standing(NamedTuple):
    """What is told of a node as it is put there. ``members``: how many there are; ``left``: to wait for."""

    state: NodeState
    left: int = 0
    members: int = 0
    has_kids: bool = False


class Stored(NamedTuple):
    """A node as it is kept: all but its ``wire``."""

    node: Node
    state: NodeState
    started_at: float
    ended_at: float
    left: int
    cause: str


def from_node(node: Node, standing: Standing, pack: Pack) -> bytes:
    """A node as it is planned, as the scripts take it."""
    head = _HEAD.pack(
        _STATE_NUMBERS[standing.state],
        0.0,
        0.0,
        TASK if node.task else 1 + _NUMBERS[node.policy],
        _NUMBERS[node.when],
        node.keeps + 2 * node.takes,
        OPEN if node.size < 0 else CLOSED,
        standing.has_kids,
        standing.left,
        0,
        standing.members,
        node.place,
    )
    tail = pack(
        (
            node.task,
            node.queue,
            node.priority,
            node.result_ttl,
            node.due_at,
            node.delay,
            node.size,
            node.path,
        )
    )
    return head + _NOTHING + _text(node.after) + _text(node.join) + _NOTHING + tail


def to_node(node_id: str, data: bytes) -> Stored:
    """What ``from_node`` was given, as it stands by now."""
    state, ended_at, started_at, kind, when, gives, _, _, left, _, _, place = _HEAD.unpack_from(data)
    texts = []
    at = _HEAD.size
    for _ in range(4):
        end = at + 2 + _LENGTH.unpack_from(data, at)[0]
        texts.append(to_id(data[at + 2 : end]))
        at = end
    _, after, join, cause = texts
    task, queue, priority, result_ttl, due_at, delay, size, path = unpack(data[at:])
    node = Node(
        node_id, task, after, _WHENS[when], join, place, queue, priority, b"", gives >= 2, gives % 2 == 1, result_ttl,
        size, Policy.FAIL_FAST if kind == TASK else _POLICIES[kind - 1], path, due_at, delay,
    )  # fmt: skip
    return Stored(node, STATES[state], started_at, ended_at, left, cause)


def _text(text: str) -> bytes:
    data = to_bytes(text)
    return _LENGTH.pack(len(data)) + data


_STATE_NUMBERS = {state: n for n, state in enumerate(STATES)}


def number_of(state: NodeState) -> int:
    return _STATE_NUMBERS[state]


# --- what is kept beside a node ---


def from_value(value: bytes, content_type: str, pack: Pack) -> bytes:
    return pack((content_type, value))


def from_failure(failure: Failure, pack: Pack) -> bytes:
    return pack((failure.type, failure.message, failure.traceback))


def to_failure(data: bytes | None) -> Failure | None:
    """The failure that is kept, if it is one."""
    known = unpack(data) if data else ()
    return Failure(*known) if len(known) == 3 else None


def to_kept(stored: Stored, data: bytes) -> Kept:
    """What a node gives; ``data``: its value, its failure, or nothing."""
    known: Sequence[Any] = unpack(data) if data else ()
    content_type, value = known if len(known) == 2 else ("msgpack", b"")
    failure = Failure(*known) if len(known) == 3 else None
    return Kept(stored.node.id, stored.node.task, stored.state, value, content_type, failure)


def to_node_view(stored: Stored, wire: bytes | None, failure: Failure | None) -> NodeView:
    """A join that has not ended has neither failure nor cause yet, and one that has waits for nobody."""
    node = stored.node._replace(wire=wire or b"")
    if stored.state.has_ended:
        return NodeView(node, stored.state, stored.started_at, stored.ended_at, failure, stored.cause, 0)
    left = 0 if node.task else max(0, stored.left)
    return NodeView(node, stored.state, stored.started_at, 0.0, None, "", left)


# --- flows ---


def from_flow(flow: Flow, pack: Pack) -> bytes:
    """What never changes of a flow."""
    return pack((flow.last, flow.ttl, flow.name, flow.sent_at))


def from_counts(open_nodes: int, counts: Mapping[NodeState, int]) -> bytes:
    """How a flow stands that is begun."""
    return _STATE.pack(0, False, 0.0, float("inf"), open_nodes, *(counts.get(state, 0) for state in STATES), 0)


def to_flow_view(flow_id: str, static: bytes, state: bytes, now: float | None) -> FlowView | None:
    """None: it is over, by the clock that was passed in."""
    number, is_cancelled, ended_at, over_at, _, *counts, dead = _STATE.unpack(state)
    flow_state = _FLOW_STATES[number]
    if flow_state is None or (now is not None and over_at <= now):
        return None
    last, ttl, name, sent_at, *_ = unpack(static)
    by_state = {state: count for state, count in zip(STATES, counts, strict=True) if count}
    flow = Flow(flow_id, name, last, sent_at, ttl)
    return FlowView(flow, flow_state, by_state, bool(is_cancelled), ended_at, dead)


def over_at(state: bytes) -> float:
    """The instant a flow is over by a clock that was passed in."""
    instant: float = _STATE.unpack(state)[3]
    return instant


# --- what a node is given ---


def to_inputs(items: list[Any]) -> Any:
    """``Inputs`` of the items of redis_flow_starts.lua: members by their place."""
    rest = iter(items)
    return _next_inputs(rest)[1]


def _next_inputs(rest: Any) -> tuple[tuple[int, str], Any]:
    kind, name, data, more = islice(rest, 4)
    stored = to_node(to_id(name), data)
    place = (stored.node.place, stored.node.id)
    if kind == 1:
        return place, to_kept(stored, more)
    if kind == 3:
        return place, _next_inputs(rest)[1]
    members = sorted((_next_inputs(rest) for _ in range(more)), key=_place)
    return place, [inputs for _, inputs in members]


def _place(member: tuple[tuple[int, str], Any]) -> tuple[int, str]:
    return member[0]
