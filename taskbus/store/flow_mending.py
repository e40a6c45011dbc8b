"""Nodes whose end is taken back, that are called off, that rest between attempts, and that others take the place of."""

from collections.abc import Iterable, Mapping, Sequence

from taskbus.message import generation, of_generation
from taskbus.store.flow_rows import FAILED, FlowRow, Key, Row, Work
from taskbus.store.flow_waves import add, make_ready, settle
from taskbus.store.flows import MAX_PATH, Node, NodeState

RESTS = 1
"""What is in ``Row.left`` of a task between two attempts."""


def call_off(work: Work, rows: Sequence[Row]) -> None:
    """See ``flows.CancelFlow``: end what will not start, and joins that nobody may seal any more."""
    ended: list[Row] = []
    for row in rows:
        if row.node.task and (row.state is NodeState.READY or _rests(row)):
            work.end_unrun(row, NodeState.REVOKED, work.now)
            ended.append(row)
        elif row.state is NodeState.READY and row.node.size < 0 and not row.is_sealed:
            row.is_sealed = True
            work.end(row, NodeState.REVOKED, work.now)
            ended.append(row)
    settle(work, ended)


def pause(work: Work, row: Row) -> None:
    """See ``flows.PauseNode``."""
    if row.state is not NodeState.STARTED:
        return
    if work.flows[row.flow].is_cancelled:
        work.end_unrun(row, NodeState.REVOKED, work.now)
        settle(work, [row])
    else:
        row.left = RESTS
        work.change(row)


def _rests(row: Row) -> bool:
    return row.state is NodeState.STARTED and row.left == RESTS


def revive(work: Work, row: Row, is_sent: bool) -> bool:
    """See ``flows.ReviveNode``; False: it is refused."""
    if work.flows[row.flow].is_cancelled:
        return False
    if row.state is NodeState.READY and row.node.task and not is_sent:
        work.publish(row, work.now)
    if row.state not in FAILED or row.cause or not row.node.task:
        return True
    _reopen(work, row, NodeState.READY)
    if not is_sent:
        work.publish(row, work.now)
    wave = [row]
    while wave:
        joins = {join.key: join for join in work.joins_of(wave)}
        waiting = work.after(wave)
        if _is_given(waiting) or _is_among_values(work, joins.values()):
            return False
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
    return True


def _is_given(waiting: Mapping[Key, Sequence[Row]]) -> bool:
    """Whether one of these is given what it came after, and has not ended: it would find nothing there."""
    open_ = (NodeState.READY, NodeState.STARTED)
    return any(each.node.takes and each.state in open_ for rows in waiting.values() for each in rows)


def _is_among_values(work: Work, joins: Iterable[Row]) -> bool:
    """Whether one that has not ended is given the values of one of these, or of a join around it."""
    complete = [join for join in joins if join.state is NodeState.SUCCESS]
    while complete:
        if _is_given(work.after(complete)):
            return True
        complete = [join for join in work.joins_of(complete) if join.state is NodeState.SUCCESS]
    return False


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
    row.started_at, row.copy, row.value = 0.0, of_generation(generation(row.copy)), None
    row.left = 0 if row.node.task else row.left
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
    nodes = [node._replace(path=_path_inside(place.path, node.path, len(nodes))) for node in nodes]
    new = new._replace(path=_path_inside(place.path, new.path, len(nodes)))
    node = new._replace(after=new.after or place.after, join=place.join, place=place.place, keeps=place.keeps)
    put = Row(row.flow, node, copy=of_generation(generation(row.copy) + 1))
    work.replace(put)
    add(work, flow, nodes)
    if not new.after:
        ended: list[Row] = []
        make_ready(work, put, work.now, ended)
        settle(work, ended)


def _path_inside(place: str, path: str, count: int) -> str:
    """The path of one of so many nodes that take the place of one: "" where that one stands nowhere."""
    inner = f"{place}.{path}"
    return inner if place and count > 1 and len(inner) <= MAX_PATH else place


def _unstarted(work: Work, there: Sequence[Row]) -> None:
    """It was replaced before: what was to be published then, and was not STARTED since, is published again."""
    for row in there:
        if row.state is NodeState.READY and row.node.task:
            work.publish(row, work.now)
