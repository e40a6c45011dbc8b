"""What changes of flows do to nodes: the rules of ``flows``, once for all stores that keep rows.

It works in waves: all nodes that end together are handled together, then all that ended because of them, and so on, so
that a database is asked a few questions a wave and not a node.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from taskbus.store.flow_mending import call_off, pause, replace, revive
from taskbus.store.flow_rows import FlowRow, Key, Row, Shelf, Work
from taskbus.store.flow_waves import add, again, settle, upstream
from taskbus.store.flows import (
    AddNodes,
    BeginFlow,
    CancelFlow,
    EndNode,
    FlowChange,
    FlowState,
    Node,
    NodeState,
    PauseNode,
    ReplaceNode,
    ReviveNode,
    SealFlow,
)

KINDS = frozenset((BeginFlow, AddNodes, SealFlow, EndNode, PauseNode, ReviveNode, ReplaceNode, CancelFlow))
"""The changes that are done here; all others are of results and dead letters."""


def work_out(shelf: Shelf, changes: Sequence[FlowChange]) -> Work | None:
    """What changes do, in their order, but for ends that follow each other, which happen at once.

    Nothing is written before ``Work.close``. None: a change was refused; everything is as it was.
    """
    begun = [change.flow for change in changes if isinstance(change, BeginFlow | ReplaceNode)]
    work = Work(shelf, map(_flow_of, changes), list({flow.id: flow for flow in begun}.values()))
    work.load(key for change in changes for key in _keys_of(change))
    for kind, run in groupby(changes, type):
        if not _ACTS[kind](work, list(run)):
            work.abandon()
            return None
    return work


def _flow_of(change: FlowChange) -> str:
    return change.flow.id if isinstance(change, BeginFlow | ReplaceNode) else change.flow


def _keys_of(change: FlowChange) -> Iterable[Key]:
    """The nodes it names."""
    flow = _flow_of(change)
    if isinstance(change, EndNode | PauseNode | ReviveNode):
        yield flow, change.node
    elif isinstance(change, SealFlow):
        yield flow, change.join
    elif isinstance(change, CancelFlow):
        for id in change.nodes:
            yield flow, id
    else:
        for node in change.nodes:
            yield flow, node.id
            if node.join:
                yield flow, node.join


def _end(work: Work, run: Sequence[EndNode]) -> bool:
    wave: list[Row] = []
    repeated: list[tuple[Row, float]] = []
    for change in run:
        row = work.row((change.flow, change.node))
        if row is None or not row.node.task:
            continue
        if row.has_ended or row.state is NodeState.WAITING:
            repeated.append((row, change.at))
            continue
        if change.state is NodeState.SKIPPED:
            if row.state is NodeState.READY:
                work.publish(row, change.at)
            continue
        work.end(row, change.state, change.at, change.failure)
        if row.node.keeps:
            row.value, row.content_type = change.value, change.content_type
        wave.append(row)
    settle(work, wave)
    again(work, [(row, at) for row, at in repeated if row.has_ended])
    upstream(work, [(row, at) for row, at in repeated if not row.has_ended])
    return True


def _begin(work: Work, run: Sequence[BeginFlow]) -> bool:
    for change in run:
        flow = work.flows.get(change.flow.id)
        if flow is not None and work.begins(flow):
            add(work, flow, change.nodes)
        elif flow is not None:
            _unstarted(work, flow, change.nodes)
    return True


def _add(work: Work, run: Sequence[AddNodes]) -> bool:
    for change in run:
        flow = work.flows.get(change.flow)
        if flow is None:
            return False
        fresh = [node for node in change.nodes if work.row((change.flow, node.id)) is None]
        joins = [work.row((change.flow, node.join)) for node in fresh if node.join]
        if any(join is not None and join.has_ended for join in joins):
            return False
        add(work, flow, fresh)
        if len(fresh) < len(change.nodes):
            _unstarted(work, flow, change.nodes)
    return True


def _unstarted(work: Work, flow: FlowRow, nodes: Sequence[Node]) -> None:
    """What was made READY when these were added, and was not STARTED since, is to be published again."""
    for node in nodes:
        row = work.row((flow.flow.id, node.id)) if node.wire else None
        if row is not None and row.state is NodeState.READY:
            work.publish(row, work.now)


def _seal(work: Work, run: Sequence[SealFlow]) -> bool:
    for change in run:
        join = work.row((change.flow, change.join))
        if join is None or join.node.task or join.node.size >= 0:
            continue
        if join.has_ended:
            again(work, [(join, work.now)])
        elif not join.is_sealed:
            join.is_sealed = True
            work.change(join)
            settle(work, [], [join])
    return True


def _cancel(work: Work, run: Sequence[CancelFlow]) -> bool:
    for change in run:
        flow = work.flows.get(change.flow)
        if flow is not None and flow.state is FlowState.RUNNING:
            work.cancel(flow)
            call_off(work, [row for id in change.nodes if (row := work.row((change.flow, id))) is not None])
    return True


def _pause(work: Work, run: Sequence[PauseNode]) -> bool:
    for change in run:
        row = work.row((change.flow, change.node))
        if row is not None and row.node.task:
            pause(work, row)
    return True


def _revive(work: Work, run: Sequence[ReviveNode]) -> bool:
    for change in run:
        row = work.row((change.flow, change.node))
        if row is None or not revive(work, row, change.is_sent):
            return False
    return True


def _replace(work: Work, run: Sequence[ReplaceNode]) -> bool:
    for change in run:
        flow = work.flows.get(change.flow.id)
        if flow is not None:
            replace(work, flow, change.nodes)
    return True


_ACTS: dict[type, Callable[[Work, Any], bool]] = {
    EndNode: _end,
    BeginFlow: _begin,
    AddNodes: _add,
    SealFlow: _seal,
    CancelFlow: _cancel,
    PauseNode: _pause,
    ReviveNode: _revive,
    ReplaceNode: _replace,
}
