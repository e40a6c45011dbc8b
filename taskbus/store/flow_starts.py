"""Nodes that are about to be run: whether each may be, and what it is given."""

from collections.abc import Iterable, Mapping, Sequence

from taskbus.message import generation
from taskbus.store.flow_rows import FAILED, Key, Row, Shelf, Work
from taskbus.store.flows import Begun, Inputs, Kept, NodeState, Start, Verdict


def begin(shelf: Shelf, starts: Sequence[Start]) -> list[Begun]:
    """See ``FlowStore.begin``; within one transaction of the shelf's."""
    work = Work(shelf, (start.flow for start in starts))
    work.load((start.flow, start.node) for start in starts)
    verdicts = [_begin(work, start) for start in starts]
    running = [(start.flow, start.node) for start, verdict in zip(starts, verdicts, strict=True) if verdict == "run"]
    inputs = _inputs(shelf, [row for key in running if (row := work.row(key)) is not None and row.node.takes])
    work.close()
    return [
        Begun(verdict, inputs.get((start.flow, start.node)) if verdict is Verdict.RUN else None)
        for start, verdict in zip(starts, verdicts, strict=True)
    ]


def _begin(work: Work, start: Start) -> Verdict:
    row = work.row((start.flow, start.node))
    if row is None or not row.node.task:
        return Verdict.UNKNOWN
    if row.has_ended or row.state is NodeState.WAITING:
        return Verdict.ENDED
    if row.state is NodeState.READY and generation(start.copy) < generation(row.copy):
        return Verdict.ENDED  # of a task that was replaced by this one
    if row.state is NodeState.STARTED and row.copy != start.copy:
        return Verdict.DUPLICATE
    if work.flows[start.flow].is_cancelled:
        return Verdict.REVOKED
    if row.state is NodeState.STARTED:
        if row.left:
            row.left = 0
            work.change(row)
        return Verdict.RUN
    work.stand(row, NodeState.STARTED)
    row.started_at, row.copy = start.at, start.copy
    return Verdict.RUN


def _inputs(shelf: Shelf, rows: Iterable[Row]) -> Mapping[Key, Inputs]:
    """What these are given, by their keys. Values are read level by level of joins within joins."""
    asked = {row.key: (row.flow, row.node.after) for row in rows if row.node.after}
    found = {row.key: row for row in shelf.kept(list(dict.fromkeys(asked.values())))} if asked else {}
    members: dict[Key, list[Row]] = {}
    joins = [row.key for row in found.values() if _is_list(row)]
    while joins:
        members.update((key, []) for key in joins)
        inner = shelf.members(joins)
        for row in inner:
            members[row.flow, row.node.join].append(row)
        joins = [row.key for row in inner if _is_list(row)]
    blamed = _blamed(shelf, [*found.values(), *(row for rows in members.values() for row in rows)])
    return {key: _given(found[before], members, blamed) for key, before in asked.items() if before in found}


def _blamed(shelf: Shelf, rows: Iterable[Row]) -> Mapping[Key, Row]:
    """The tasks that failed or revoked joins of these, by the keys of those joins."""
    causes = {row.key: (row.flow, row.cause) for row in rows if not row.node.task and row.cause and row.state in FAILED}
    found = {row.key: row for row in shelf.kept(list(dict.fromkeys(causes.values())))} if causes else {}
    return {key: found[cause] for key, cause in causes.items() if cause in found}


def _is_list(row: Row) -> bool:
    """Whether what it gives are the values of its members: a join that succeeded."""
    return not row.node.task and row.state is NodeState.SUCCESS


def _given(row: Row, members: Mapping[Key, Sequence[Row]], blamed: Mapping[Key, Row]) -> Inputs:
    if _is_list(row):
        return [_given(member, members, blamed) for member in members[row.key]]
    row = blamed.get(row.key, row)
    return Kept(row.node.id, row.node.task, row.state, row.value or b"", row.content_type, row.failure)
