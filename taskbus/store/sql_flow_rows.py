"""Between flows and nodes and the rows of the SQL stores: their columns, in their order."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from taskbus.outcome import Failure
from taskbus.store.flow_rows import FlowRow, Row
from taskbus.store.flows import (
    AddNodes,
    BeginFlow,
    CancelFlow,
    EndNode,
    Flow,
    FlowChange,
    FlowState,
    Node,
    NodeState,
    Policy,
    ReplaceNode,
    When,
)
from taskbus.store.statements import storable

# What most nodes are is an empty text in a row.
_WHENS, _POLICIES = (
    {each: "" if each is usual else each.value for each in type(usual)} for usual in (When.SUCCESS, Policy.FAIL_FAST)
)
_WHEN_OF: dict[str, Any] = {text: each for each, text in _WHENS.items()}
_POLICY_OF: dict[str, Any] = {text: each for each, text in _POLICIES.items()}
_STATE_OF = {state.value: state for state in NodeState}
_TEXT_OF: dict[StrEnum, str] = {state: state.value for state in (*NodeState, *FlowState)}
_COUNTED = (
    NodeState.WAITING, NodeState.READY, NodeState.STARTED,
    NodeState.SUCCESS, NodeState.FAILURE, NodeState.REVOKED, NodeState.SKIPPED,
)  # fmt: skip


# --- flows -----------------------------------------------------------------------------------------------------------


def row_of_flow(flow: Flow) -> tuple[Any, ...]:
    """A row of ``begin_flows``."""
    return storable(flow.id), storable(flow.name), storable(flow.last), flow.sent_at, flow.ttl


def flow_of(row: Sequence[Any]) -> FlowRow:
    """A flow; one without a state was just begun."""
    number, id, name, last, sent_at, ttl, state, is_cancelled, ended_at, *counts, dead, joins = row
    return FlowRow(
        Flow(id, name, last, sent_at, ttl),
        FlowState(state) if state else FlowState.RUNNING,
        bool(is_cancelled),
        ended_at,
        dict(zip(_COUNTED, counts, strict=True)),
        dead,
        joins,
        number,
        is_new=not state,
    )


def standing_of_flow(flow: FlowRow) -> tuple[Any, ...]:
    """A row of ``save_flows``."""
    expires_at = None if flow.state is FlowState.RUNNING else flow.ended_at + flow.flow.ttl
    counts = [flow.counts.get(state, 0) for state in _COUNTED]
    state = _TEXT_OF[flow.state]
    standing = flow.number, flow.flow.id, state, int(flow.is_cancelled), flow.ended_at, expires_at
    return *standing, *counts, flow.dead, flow.joins


# --- nodes -----------------------------------------------------------------------------------------------------------


def node_of(flow: str, row: Sequence[Any]) -> Row:
    """A node of the flow with that id, of the columns ``{node}``."""
    (
        _, id, task, after, when, join, place, queue, priority, takes, keeps, result_ttl, size, policy, path, due_at,
        delay, state, started_at, copy, ended_at, content_type, failure_type, message, traceback, cause, left, failed,
        is_sealed,
    ) = row[:29]  # fmt: skip
    node = Node(
        id, task, after, _WHEN_OF[when], join, place, queue, priority, b"", bool(takes), bool(keeps), result_ttl, size,
        _POLICY_OF[policy], path, due_at, delay,
    )  # fmt: skip
    failure = None if failure_type is None else Failure(failure_type, message, traceback)
    return Row(
        flow, node, _STATE_OF[state], started_at, copy, ended_at, None, content_type, failure, cause, left, failed,
        bool(is_sealed), False,
    )  # fmt: skip


def with_wire(flow: str, row: Sequence[Any]) -> Row:
    """The same, of a row that ends with its wire."""
    found = node_of(flow, row)
    found.node, found.has_wire = found.node._replace(wire=bytes(row[-1] or b"")), True
    return found


def with_value(flow: str, row: Sequence[Any]) -> Row:
    """The same, of a row that ends with its value."""
    found = node_of(flow, row)
    found.value = row[-1]
    return found


def added(number: int, row: Row) -> tuple[Any, ...]:
    """A row of ``add_nodes``, in the flow with that number."""
    node = row.node
    return (
        number, node.id, node.task, node.after, _WHENS[node.when], node.join, node.place, node.queue, node.priority,
        node.wire or None, int(node.takes), int(node.keeps), node.result_ttl, node.size, _POLICIES[node.policy],
        node.path, node.due_at, node.delay, *standing(number, row)[2:],
    )  # fmt: skip


def standing(number: int, row: Row) -> tuple[Any, ...]:
    """A row of ``save_nodes``."""
    failure = row.failure
    said = (None, None, None) if failure is None else _texts(failure)
    return (
        number, row.node.id, _TEXT_OF[row.state], row.started_at, row.copy, row.ended_at, row.value, row.content_type,
        *said, row.cause, row.left, row.failed, int(row.is_sealed),
    )  # fmt: skip


def _texts(failure: Failure) -> tuple[str, str, str]:
    return storable(failure.type), storable(failure.message), storable(failure.traceback)


# --- changes as every database takes them ----------------------------------------------------------------------------


def storable_change(change: FlowChange) -> FlowChange:
    """The same with texts that every database takes."""
    if isinstance(change, EndNode):
        if _is_plain(change.flow) and _is_plain(change.node):
            return change
        return change._replace(flow=storable(change.flow), node=storable(change.node))
    if isinstance(change, BeginFlow | ReplaceNode):
        return change._replace(flow=_spelled(change.flow), nodes=list(map(_storable_node, change.nodes)))
    if isinstance(change, AddNodes):
        return AddNodes(storable(change.flow), list(map(_storable_node, change.nodes)))
    if isinstance(change, CancelFlow):
        return CancelFlow(storable(change.flow), list(map(storable, change.nodes)))
    spelled: FlowChange = _spelled(change)
    return spelled


def _storable_node(node: Node) -> Node:
    texts = f"{node.id}{node.task}{node.after}{node.join}{node.queue}{node.path}"
    return node if _is_plain(texts) else _spelled(node)


def _is_plain(text: str) -> bool:
    return text.isascii() and "\0" not in text


def _spelled(fields: Any) -> Any:
    return type(fields)(*(storable(each) if type(each) is str else each for each in fields))


Reader = Callable[[str, Sequence[Any]], Row]
