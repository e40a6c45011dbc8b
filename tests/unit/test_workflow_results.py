"""``GroupResult`` and ``FlowHandle``: values in order, failures as soon as they are there, progress, a second try."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus import FailedTask, FlowFailed, GroupResult, State, TaskBus, chain, chord, group
from taskbus.errors import ConfigError, ResultError, ResultTimeout, TaskRevoked
from taskbus.outcome import Failure, Reason
from taskbus.store.base import Bury, DeadLetter, StoredResult
from taskbus.store.flows import FlowState, NodeState
from taskbus.wire import compact
from taskbus.workflow.counts import Counts
from tests.unit.workflow_rig import messages, run


class Jobs:
    """Tasks of one application; ``broken`` ones fail until they are mended."""

    def __init__(self, app: TaskBus) -> None:
        self.broken = True

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="boom")
        def boom(a: int = 0) -> int:
            if self.broken:
                raise ValueError(f"no {a}")
            return a

        @app.task(name="total")
        def total(values: Any) -> int:
            return sum(values)

        @app.task(name="keen", store_results=False)
        def keen(a: int) -> int:
            return a

        self.add, self.boom, self.total, self.keen = add, boom, total, keen


@pytest.fixture(params=["shared", "apart"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskBus]:
    urls = {"broker": f"sqlite:///{tmp_path}/one.db"}
    if request.param == "apart":
        urls["results"] = f"sqlite:///{tmp_path}/two.db"
    with TaskBus("results", **urls) as made:
        yield made


@pytest.fixture
def jobs(app: TaskBus) -> Jobs:
    return Jobs(app)


@pytest.mark.parametrize("members", [0, 1, 2])
def test_a_group_that_collects_or_is_empty_fails_with_what_it_runs_after(
    app: TaskBus, jobs: Jobs, members: int
) -> None:
    result = (jobs.boom.s(7) | group([jobs.add.s(1) for _ in range(members)], collect=True)).delay()
    assert result.state is State.PENDING
    assert not result.is_ready
    run(app)
    with pytest.raises(ValueError, match="no 7"):
        result.get(timeout=0)
    with pytest.raises(ValueError, match="no 7"):
        asyncio.run(result.aget(timeout=0))
    assert (result.state, result.is_ready, len(result)) == (State.FAILURE, True, members)


def test_a_group_that_runs_after_others_fails_with_the_first_of_them(app: TaskBus, jobs: Jobs) -> None:
    nothing = group(collect=True)
    result = chain(group(jobs.add.s(1, 1), jobs.boom.s(7)), group(nothing, collect=True), nothing).delay()
    run(app)
    with pytest.raises(ValueError, match="no 7"):
        result.get(timeout=0)


def test_what_could_not_run_within_a_group_that_collects_is_told_in_its_place(app: TaskBus, jobs: Jobs) -> None:
    result = group(jobs.boom.s(7) | group(), jobs.add.s(1, 1) | group(collect=True), collect=True).delay()
    run(app)
    lost, empty = result.get(timeout=0)
    assert isinstance(lost, FailedTask)
    assert (lost.task, lost.message, empty) == ("boom", "no 7", [])


def test_what_keeps_no_results_cannot_tell_a_group_that_it_failed(app: TaskBus, jobs: Jobs) -> None:
    result = (jobs.keen.s(1) | group(jobs.add.s(1), collect=True)).delay()
    run(app)
    assert result.get(timeout=0) == [2]


# --- values ---------------------------------------------------------------------------------------------------------


def test_values_come_in_the_order_of_the_members(app: TaskBus, jobs: Jobs) -> None:
    result = group(jobs.add.s(n) for n in range(25)).delay()
    assert (len(result), result.state, result.is_ready, result.completed_count()) == (25, State.PENDING, False, 0)
    run(app, most=10)
    assert (result.state, result.is_ready, result.completed_count()) == (State.PENDING, False, 10)
    assert result.counts() == Counts(pending=15, succeeded=10)
    run(app)
    assert (result.state, result.is_ready, result.completed_count()) == (State.SUCCESS, True, 25)
    assert result.get(0) == list(range(25))
    assert asyncio.run(result.aget(0)) == list(range(25))
    assert [each.get(0) for each in result.as_completed(0)] == list(range(25))
    assert result.results == result.children == tuple(result)
    assert repr(result) == f"<GroupResult {result.id} of 25>"


def test_groups_in_groups_give_lists_in_lists(app: TaskBus, jobs: Jobs) -> None:
    nested = group(jobs.add.s(1), group(jobs.add.s(2), jobs.add.s(3) | group(jobs.add.s(4), jobs.add.s(5))), group())
    result = nested.delay()
    run(app)
    assert result.get(0) == [1, [2, [7, 8]], []]
    inner = result[1]
    assert isinstance(inner, GroupResult)
    assert (inner.get(0), inner.flow_id, len({result.id, inner.id})) == ([2, [7, 8]], result.flow_id, 2)


def test_a_chain_that_ends_in_a_group_gives_that_groups_result(app: TaskBus, jobs: Jobs) -> None:
    result = (jobs.add.s(1) | group(jobs.add.s(1), jobs.add.s(2))).delay()
    assert isinstance(result, GroupResult)
    run(app)
    assert result.get(0) == [2, 3]


def test_chunks_give_lists_of_values_converted_as_the_task_says(app: TaskBus) -> None:
    @app.task(name="half")
    def half(number: int) -> complex:
        raise NotImplementedError

    result = half.chunks([(1,), (2,)], 2).delay()
    (chunk,) = result
    from taskbus import codec
    from taskbus.store.base import SaveResult

    value = codec.encode([1, 2.5])
    app.store.apply([SaveResult(StoredResult(chunk.id, "half", State.SUCCESS, value), 60.0)])
    assert result.get(0) == [[1, 2.5]]


def test_a_group_nested_deeper_than_the_stack_of_python_has_a_value(app: TaskBus, jobs: Jobs) -> None:
    deep: Any = jobs.add.s(1)
    for _ in range(1500):
        deep = group(deep)
    result = deep.delay()
    run(app)
    value = result.get(0)
    for _ in range(1500):
        (value,) = value
    assert value == 1


# --- failures -------------------------------------------------------------------------------------------------------


def test_the_first_failure_is_raised_while_others_run_on(app: TaskBus, jobs: Jobs) -> None:
    result = group(jobs.boom.s(1), jobs.add.s(1)).delay()
    run(app, most=1)
    assert (result.state, result.is_ready) == (State.FAILURE, False)
    with pytest.raises(ValueError, match="no 1"):
        result.get(timeout=10)
    with pytest.raises(ValueError, match="no 1"):
        asyncio.run(result.aget(timeout=10))


def test_a_group_that_collects_has_failed_tasks_among_its_values(app: TaskBus, jobs: Jobs) -> None:
    inner = group(jobs.boom.s(2), jobs.add.s(2))
    result = group(jobs.boom.s(1), jobs.boom.s(3) | jobs.add.s(), inner, jobs.add.s(1), collect=True).delay()
    run(app)
    assert result.state is State.SUCCESS
    first, second, third, fourth = result.get(0)
    assert isinstance(first, FailedTask)
    assert (first.task_id, first.task, first.error, first.message) == (
        result[0].id, "boom", "builtins.ValueError", "no 1",
    )  # fmt: skip
    assert isinstance(second, FailedTask)
    assert (second.task, second.error) == ("add", "taskbus.errors.FlowFailed")
    assert second.message.startswith("task boom (")
    assert isinstance(third, FailedTask), "a group that failed as a whole"
    assert third.message == "no 2"
    assert fourth == 1


def test_a_body_whose_member_failed_says_which(app: TaskBus, jobs: Jobs) -> None:
    result = chord([jobs.add.s(1), jobs.boom.s(7)], jobs.total.s()).delay()
    run(app)
    with pytest.raises(FlowFailed, match=r"task boom \(.{36}\) failed: no 7"):
        result.get(0)


def test_nothing_is_waited_for_longer_than_told(app: TaskBus, jobs: Jobs) -> None:
    result = group(jobs.add.s(1), jobs.add.s(2)).delay()
    run(app, most=1)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0)
    with pytest.raises(ResultTimeout, match=r"no result of 1 tasks within 0\.01 s"):
        asyncio.run(result.aget(timeout=0.01))


def test_tasks_that_keep_no_results_are_counted_but_not_waited_for(app: TaskBus, jobs: Jobs) -> None:
    result = group(jobs.keen.s(1), jobs.keen.s(2)).delay()
    with pytest.raises(ResultError, match="keeps no results"):
        result.get(0)
    with pytest.raises(ResultError, match="keeps no results"):
        asyncio.run(result.aget(0))
    run(app)
    assert result.counts() == Counts(succeeded=2)
    summed = chord([jobs.keen.s(1), jobs.keen.s(2)], jobs.total.s()).delay()
    run(app)
    assert summed.get(0) == 3, "a join does not need results"


def test_results_put_together_by_hand_belong_to_no_workflow(app: TaskBus, jobs: Jobs) -> None:
    result: GroupResult[int] = GroupResult("mine", [jobs.add.delay(1), jobs.add.delay(2)])
    run(app)
    assert result.get(0) == [1, 2]
    with pytest.raises(ConfigError, match="put together by hand"):
        result.counts()
    result.forget()
    assert result.children[0].state is State.SUCCESS or result.children[0].state is State.PENDING


# --- handles --------------------------------------------------------------------------------------------------------


def test_a_workflow_is_looked_at_by_its_id(app: TaskBus, jobs: Jobs) -> None:
    result = chain(jobs.add.s(1), jobs.add.s(2)).delay()
    flow = app.flow(result.flow_id)
    assert (flow.state, flow.counts()) == (FlowState.RUNNING, Counts(pending=2))
    run(app)
    assert (flow.state, flow.counts(), flow.counts().total, flow.counts().ended) == (
        FlowState.SUCCESS, Counts(succeeded=2), 2, 2,
    )  # fmt: skip
    assert [view.state for view in flow.nodes()] == [NodeState.SUCCESS] * 2
    assert repr(flow) == f"<FlowHandle {result.flow_id}>"
    gone = app.flow("gone")
    assert (gone.view(), gone.state, gone.counts(), list(gone.nodes()), gone.retry()) == (None, None, Counts(), [], [])
    gone.cancel()


def test_workflows_are_listed_newest_first_page_by_page(
    app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskbus.workflow.handle.PAGE", 2)
    ids = [chain(jobs.add.s(1), jobs.add.s(2)).delay().flow_id for _ in range(5)]
    assert [view.flow.id for view in app.flows()] == ids[::-1]
    assert [view.flow.id for view in app.flows(limit=3)] == ids[:1:-1]
    assert list(app.flows(limit=0)) == []


def test_what_has_not_started_of_a_cancelled_workflow_does_not_run(app: TaskBus, jobs: Jobs) -> None:
    result = chain(jobs.add.s(1), jobs.add.s(2), jobs.add.s(3)).delay()
    run(app, most=1)
    app.flow(result.flow_id).cancel()
    assert run(app) == []
    assert app.flow(result.flow_id).state is FlowState.REVOKED
    with pytest.raises(TaskRevoked):
        result.get(0)
    with pytest.raises(ConfigError, match="was cancelled, so that nothing of it runs any more"):
        app.flow(result.flow_id).retry()


def test_what_failed_is_run_again_from_what_the_workflow_keeps(app: TaskBus, jobs: Jobs) -> None:
    result = chain(jobs.add.s(4), jobs.boom.s(), jobs.add.s(1)).delay()
    assert run(app) == ["add", "boom"]
    jobs.broken = False
    (failed,) = app.flow(result.flow_id).retry()
    assert run(app) == ["boom", "add"]
    assert result.get(0) == 5
    assert failed not in (result.id, "")
    assert app.flow(result.flow_id).retry() == []


@pytest.mark.parametrize("size", [10, 40])
def test_a_retry_asks_the_store_as_often_as_tasks_have_failed(
    app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    result = group(jobs.add.s(1) | jobs.boom.s() for _ in range(size)).delay()
    run(app)
    asked: list[int] = []

    def counted(name: str) -> None:
        ask = getattr(app.store, name)

        def asking(*args: Any, **kwargs: Any) -> Any:
            found = ask(*args, **kwargs)
            asked.append(len(found) if isinstance(found, list | tuple) else 1)
            return found

        monkeypatch.setattr(app.store, name, asking)

    for name in ("flow", "nodes", "dead_letters", "apply"):
        counted(name)
    jobs.broken = False
    assert len(app.flow(result.flow_id).retry()) == size
    assert len(asked) <= 3 * size + 5, "round trips"
    assert sum(asked) <= 6 * size + 5, "what was read"


def test_a_dead_letter_is_sent_again_where_there_is_one(app: TaskBus, jobs: Jobs) -> None:
    result = chord([jobs.boom.s(1), jobs.boom.s(2)], jobs.total.s()).delay()
    sent = messages(app)
    run(app)
    for message in sent[:1]:
        failure = Failure("builtins.ValueError", "no")
        app.store.apply(
            [
                Bury(
                    DeadLetter(
                        message.id, message.task, message.queue, Reason.NOT_RETRYABLE, failure,
                        compact.encode(message), compact.CONTENT_TYPE, 0, 1, message.sent_at, app.clock(),
                    )
                )
            ]
        )  # fmt: skip
    jobs.broken = False
    flow = app.flow(result.flow_id)
    assert flow.retry("no such task") == []
    assert flow.retry(sent[1].id) == [], "a first task has no message but its dead letter"
    assert flow.retry() == [sent[0].id]
    assert run(app) == ["boom"]
    assert flow.counts() == Counts(succeeded=1, failed=2, dead=1)
