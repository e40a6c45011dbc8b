"""Nodes whose end is taken back, and nodes that others take the place of."""

from collections.abc import Sequence

from taskbus.store.flow_rows import FAILED, FlowRow, Row, Work
from taskbus.store.flow_waves import add, make_ready, settle
from taskbus.store.flows import Node, NodeState


def revive(work: Work, row: Row, is_sent: bool) -> None:
    """See ``flows.ReviveNode``."""
    if work.flows[row.flow].is_cancelled:
        return
    if row.state is NodeState.READY and row.node.task and not is_sent:
        work.publish(row, work.now)
    if row.state not in FAILED or row.cause or not row.node.task:
        return
    _reopen(work, row, NodeState.READY)
    if not is_sent:
        work.publish(row, work.now)
    wave = [row]
    while wave:
        joins = {join.key: join for join in work.joins_of(wave)}
        waiting = work.after(wave)
        reopened: list[Row] = []
        for each in wave:
            join = joins.get((each.flow, each.node.join))
            if join is not None and _member_revived(work, join):
                reopened.append(join)
            for next_ in waiting.get(each.key, ()):
                if next_.state in FAILED and next_.cause and not next_.failed:
                    _reopen(work, next_, NodeState.WAITING)
                    reopened.append(next_)
        wave = reopened


def _member_revived(work: Work, join: Row) -> bool:
    """Tell a join that a failed member of it goes on; whether it does so too."""
    join.left += 1
    join.failed -= 1
    work.change(join)
    if join.failed:
        return False
    if join.state in FAILED and join.cause:
        _reopen(work, join, NodeState.READY)
        return True
    return False


def _reopen(work: Work, row: Row, state: NodeState) -> None:
    work.end(row, state, 0.0)
    row.started_at, row.copy, row.value = 0.0, "", None
    work.forget(row)


def replace(work: Work, flow: FlowRow, nodes: Sequence[Node]) -> None:
    """See ``flows.ReplaceNode``: the one of ``nodes`` that is there already is replaced."""
    if work.begins(flow):
        add(work, flow, nodes)
        return
    there = [row for node in nodes if (row := work.row((flow.flow.id, node.id))) is not None]
    started = [row for row in there if row.state is NodeState.STARTED and row.node.task]
    if len(there) != 1 or not started:
        _unstarted(work, there)
        return
    (row,) = started
    new = next(node for node in nodes if node.id == row.node.id)
    if len(nodes) == 1 and new.wire == work.shelf.wires([row.key]).get(row.key):
        return
    place = row.node
    node = new._replace(after=new.after or place.after, join=place.join, place=place.place, keeps=place.keeps)
    put = Row(row.flow, node)
    work.replace(put)
    add(work, flow, nodes)
    if not new.after:
        ended: list[Row] = []
        make_ready(work, put, work.now, ended)
        settle(work, ended)


def _unstarted(work: Work, there: Sequence[Row]) -> None:
    """It was replaced before: what was to be published then, and was not STARTED since, is published again."""
    for row in there:
        if row.state is NodeState.READY and row.node.task:
            work.publish(row, work.now)
