"""How the end of some nodes spreads through their flows, wave by wave, and what of it is to be published (again)."""

from collections.abc import Callable, Iterable, Sequence

from taskbus.outcome import Failure
from taskbus.store.flow_rows import FAILED, FlowRow, Key, Row, Work
from taskbus.store.flows import Node, NodeState, Policy, When

FLOW_FAILED = "taskbus.errors.FlowFailed"


def add(work: Work, flow: FlowRow, nodes: Iterable[Node]) -> list[Row]:
    """Add nodes that are not there, and make READY what waits for nothing."""
    made: list[Row] = []
    for node in nodes:
        key = (flow.flow.id, node.id)
        if work.row(key) is None:
            row = Row(flow.flow.id, node, left=max(0, node.size))
            work.add(row)
            made.append(row)
    for row in made:
        join = _join_of(work, row)
        if join is not None and join.node.size < 0:
            join.left += 1
            work.change(join)
    ended: list[Row] = []
    for row in made:
        if not row.node.after:
            make_ready(work, row, work.now, ended)
    settle(work, ended)
    return made


def _join_of(work: Work, row: Row) -> Row | None:
    return work.row((row.flow, row.node.join)) if row.node.join else None


def settle(work: Work, wave: Sequence[Row], joins: Sequence[Row] = ()) -> None:
    """All that follows from the end of these nodes; ``joins`` may have ended by something else."""
    ended: list[Row] = []
    for join in joins:
        complete(work, join, work.now, ended)
    wave = [*wave, *ended]
    while wave:
        ended = []
        alarmed: list[tuple[Row, float]] = []
        work.joins_of(wave)
        for row in wave:
            of = _join_of(work, row)
            if of is not None and _member_ended(work, of, row, ended):
                alarmed.append((of, row.ended_at))
        waiting = work.after([*wave, *(join for join, _ in alarmed)])
        for row in wave:
            for each in waiting.get(row.key, ()):
                if each.state is NodeState.WAITING:
                    _follow(work, each, row, ended)
        for join, at in alarmed:
            for each in waiting.get(join.key, ()):
                if each.state is NodeState.WAITING and each.node.when is When.DEATH:
                    make_ready(work, each, at, ended)
        wave = ended


def _member_ended(work: Work, join: Row, row: Row, ended: list[Row]) -> bool:
    """Tell a join of the end of a member; whether it is the first to fail of one that tells of that."""
    join.left -= 1
    has_failed = row.state in FAILED
    join.failed += has_failed
    work.change(join)
    if join.has_ended:
        return False
    policy, is_first = join.node.policy, has_failed and join.failed == 1
    if policy is Policy.FAIL_FAST and has_failed:
        work.end(join, row.state, row.ended_at, _passed_on(row), row.cause or row.node.id)
        ended.append(join)
        return False
    is_alarmed = policy is Policy.TALLY and is_first
    if is_alarmed:
        join.cause, join.failure = row.cause or row.node.id, blame(row)
    complete(work, join, row.ended_at, ended)
    return is_alarmed


def complete(work: Work, join: Row, at: float, ended: list[Row]) -> None:
    """End a join that waits for nothing any more."""
    is_open = join.node.size < 0 and not join.is_sealed
    if join.state is not NodeState.READY or join.left > 0 or is_open:
        return
    if join.node.policy is Policy.TALLY and join.failed and work.flows[join.flow].is_cancelled:
        work.end(join, NodeState.REVOKED, at, cause=join.cause)
    elif join.node.policy is Policy.TALLY and join.failed:
        work.end(join, NodeState.FAILURE, at, join.failure, join.cause)
    else:
        work.end(join, NodeState.SUCCESS, at)
    ended.append(join)


def make_ready(work: Work, row: Row, at: float, ended: list[Row]) -> None:
    """What a node waited for is there; it goes to ``ended`` if that is its end too."""
    if work.flows[row.flow].is_cancelled:
        work.end_unrun(row, NodeState.REVOKED, at)
        ended.append(row)
        return
    work.stand(row, NodeState.READY)
    if row.node.task:
        work.publish(row, at)
    else:
        complete(work, row, at, ended)


def _follow(work: Work, row: Row, before: Row, ended: list[Row]) -> None:
    """What the end of the node before it means for one that waits."""
    when = row.node.when
    if before.state is not NodeState.SKIPPED and _FITS[when](before):
        make_ready(work, row, before.ended_at, ended)
        return
    if before.state is NodeState.SKIPPED or when in (When.FAILURE, When.DEATH):
        work.end_unrun(row, NodeState.SKIPPED, before.ended_at)
    else:
        work.end_unrun(row, before.state, before.ended_at, _passed_on(before), before.cause or before.node.id)
    ended.append(row)


_FITS: dict[When, Callable[[Row], bool]] = {
    When.SUCCESS: lambda before: before.state is NodeState.SUCCESS,
    When.FAILURE: lambda before: before.state in FAILED,
    When.DEATH: lambda before: before.failed > 0,
    When.ALWAYS: lambda before: True,
}


def _passed_on(row: Row) -> Failure | None:
    """What is said of those that end because a node ended like this."""
    return blame(row) if row.state is NodeState.FAILURE else None


def blame(row: Row) -> Failure:
    """That a node failed, or was revoked."""
    if row.cause and row.failure is not None:
        return row.failure
    said = row.failure.message if row.failure is not None else row.state.value
    return Failure(FLOW_FAILED, f"task {row.node.task} ({row.node.id}) failed: {said}")


# --- again ----------------------------------------------------------------------------------------------------------


def again(work: Work, wave: Sequence[tuple[Row, float]]) -> None:
    """Publish again what the ends of these made READY, and was not STARTED since."""
    seen: set[Key] = {row.key for row, _ in wave}
    while wave:
        joins = {join.key: join for join in work.joins_of(row for row, _ in wave)}
        waiting = work.after([*(row for row, _ in wave), *joins.values()])
        following: list[tuple[Row, float]] = []
        for row, at in wave:
            for each in waiting.get(row.key, ()):
                if each.state is NodeState.READY and each.node.task:
                    work.publish(each, at)
                elif each.has_ended and not each.started_at and each.key not in seen:
                    seen.add(each.key)
                    following.append((each, at))
            join = joins.get((row.flow, row.node.join))
            if join is None or join.key in seen:
                continue
            if join.has_ended:
                seen.add(join.key)
                following.append((join, at))
            elif row.state in FAILED:
                for each in waiting.get(join.key, ()):
                    if each.state is NodeState.READY and each.node.when is When.DEATH:
                        work.publish(each, at)
        wave = following


def upstream(work: Work, wave: Sequence[tuple[Row, float]]) -> None:
    """Publish again what is to run before nodes that wait: they were replaced, and what replaced them may be lost."""
    seen: set[Key] = set()
    while wave:
        at = wave[0][1]
        before = [(row.flow, row.node.after) for row, _ in wave if row.node.after]
        work.load(before)
        found = [row for key in before if (row := work.row(key)) is not None]
        joins = [row for row, _ in wave if not row.node.task]
        following: list[tuple[Row, float]] = []
        for row in [*found, *(work.members(joins) if joins else ())]:
            if row.key in seen or row.has_ended:
                continue
            seen.add(row.key)
            if row.node.task and row.state is NodeState.READY:
                work.publish(row, at)
            elif row.state is not NodeState.STARTED:
                following.append((row, at))
        wave = following
