"""Workflows with real workers, on every broker and on pairs of a broker and another place for results."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sample_flows as tasks
from cli_runs import taskbus
from evidence import letters, lines
from worker_process import StartWorker, Worker, wait_until

from taskbus import Signature, State, TaskBus, chain, chord, group
from taskbus.errors import FlowFailed, TaskRevoked
from taskbus.outcome import Reason
from taskbus.store.flows import FlowState, FlowView, NodeView
from tests.crash.grounds import GROUNDS
from tests.crash.place import Place
from tests.crash.town import Town

everywhere = pytest.mark.parametrize(
    "place",
    [pytest.param(name, marks=() if ground.is_whole else pytest.mark.slow) for name, ground in GROUNDS.items()],
    indirect=True,
)
on_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
SOON = 30.0
"""Seconds within which a workflow of a few tasks has ended, on any broker and a busy machine."""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """The servers of this module's tests."""
    with Town() as town:
        yield town


@pytest.fixture
def place(town: Town, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of this test's own on the servers that its parameter names; skipped, but never in CI, without them."""
    ground = GROUNDS[request.param]
    if why := ground.obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    place = ground.open(tmp_path / "place", town)
    yield place
    place.remove()


@pytest.fixture
def bus(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskBus]:
    """The sample application there; this process's variables lead workers and commands to the same place."""
    with TaskBus(
        "sample_flows", broker=place.broker_url, results=place.results_url or None, unknown_task_grace=0, sweep=0.5
    ) as made:
        monkeypatch.setenv("TASKBUS_BROKER", made.broker_url)
        monkeypatch.setenv("TASKBUS_RESULTS", made.results_url)
        for task in tasks.app.tasks.values():
            made._adopt(task)
        yield made


@pytest.fixture
def start_worker(bus: TaskBus, tmp_path: Path) -> Iterator[StartWorker]:
    """As in the other modules: whatever is left of the workers is killed, and their logs are shown on failure."""
    with ExitStack() as stack:
        started: list[Worker] = []

        def start(*options: str, **environment: str) -> Worker:
            worker = Worker(bus.broker_url, tmp_path, *options, app="sample_flows:app", **environment)
            started.append(stack.enter_context(worker))
            return worker

        yield start
        for worker in started:
            print(f"--- {worker.log}:\n{worker.log.read_text()}")


def the_flow(bus: TaskBus) -> FlowView:
    """The only flow there is."""
    (view,) = bus.store.flows(limit=2)
    return view


def ended(bus: TaskBus) -> FlowView:
    """The only flow there is, when it has ended."""
    wait_until(lambda: the_flow(bus).state is not FlowState.RUNNING, timeout=SOON, what="the end of the workflow")
    return the_flow(bus)


def states(bus: TaskBus) -> dict[str, int]:
    return {state.value: count for state, count in the_flow(bus).counts.items() if count}


# --- on every broker -------------------------------------------------------------------------------------------------


@everywhere
def test_chains_groups_and_chords_nested_in_each_other_give_what_they_say(
    bus: TaskBus, start_worker: StartWorker
) -> None:
    worker = start_worker("-c", "2", "--coroutines", "10")
    line = chain(tasks.add.s(1, 2), tasks.double.s(), tasks.add.s(10)).delay()
    many = group(tasks.add.s(number, 1) for number in range(5)).delay()
    book = chord((tasks.add.s(number, 1) | tasks.double.s() for number in range(5)), tasks.total.s()).delay()
    fan = (tasks.add.s(1, 1) | group(tasks.add.s(1), tasks.double.s()) | tasks.total.s()).delay()
    deep = chord(
        [group(tasks.add.s(1, 1), tasks.double.s(5)), group(tasks.add.s(3, 4) for _ in range(2))], tasks.grand_total.s()
    ).delay()
    assert line.get(timeout=SOON) == 16
    assert many.get(timeout=SOON) == [1, 2, 3, 4, 5]
    assert book.get(timeout=SOON) == 30
    assert fan.get(timeout=SOON) == 7
    assert deep.get(timeout=SOON) == 26
    wait_until(lambda: {view.state for view in bus.store.flows(limit=10)} == {FlowState.SUCCESS}, what="all flows' end")
    assert worker.stop() == 0


@everywhere
def test_chords_of_no_members_one_two_and_many(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "2")
    chords = {
        count: chord([tasks.add.s(number, 1) for number in range(count)], tasks.total.s()).delay()
        for count in (0, 1, 2, 200)
    }
    for count, result in chords.items():
        assert result.get(timeout=2 * SOON) == count * (count + 1) // 2


@everywhere
def test_a_member_that_fails_ends_what_waits_for_it_and_says_which_it_was(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    told = tmp_path / "told"
    members = group(tasks.add.s(1, 1), tasks.fails.s())
    result = (members | tasks.total.s()).link_error(tasks.complain.s(str(told))).delay()
    with pytest.raises(FlowFailed, match=r"sample_flows\.fails"):
        result.get(timeout=SOON)
    (letter,) = letters(bus)
    assert letter.task == "sample_flows.fails"
    assert ended(bus).state is FlowState.FAILURE
    wait_until(lambda: told.exists(), what="the word of the failure")
    assert told.read_text() == f"total:task sample_flows.fails ({letter.task_id}) failed: no\n"
    assert states(bus) == {"SUCCESS": 2, "FAILURE": 2}


@everywhere
def test_a_replayed_dead_letter_lets_its_workflow_go_on(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    flag = tmp_path / "flag"
    result = chord([tasks.add.s(1, 1), tasks.needs.s(str(flag), 5)], tasks.total.s() | tasks.double.s()).delay()
    letters(bus)
    assert ended(bus).state is FlowState.FAILURE
    flag.touch()
    assert taskbus("dlq", "replay", "--yes").status == 0
    wait_until(lambda: the_flow(bus).state is FlowState.SUCCESS, timeout=SOON, what="the end of the workflow")
    assert result.get(timeout=SOON) == 14


@everywhere
def test_a_cancelled_workflow_runs_nothing_more(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    path, until = str(tmp_path / "ran"), str(tmp_path / "until")
    members = [tasks.waits.s(path, until, 1), tasks.waits.s(path, until, 2).options(queue="later")]
    result = chord(members, tasks.total.s()).delay()
    start_worker("-c", "1", "-Q", "default")
    wait_until(lambda: lines(Path(path)) == ["start1"], what="the first member")
    bus.flow(the_flow(bus).flow.id).cancel()
    Path(until).touch()
    start_worker("-c", "1", "-Q", "later")
    assert ended(bus).state is FlowState.REVOKED
    assert lines(Path(path)) == ["start1", "end1"]
    assert states(bus) == {"SUCCESS": 1, "REVOKED": 2}
    with pytest.raises(TaskRevoked):
        result.get(timeout=SOON)


@everywhere
def test_a_cancelled_workflow_does_not_wait_for_a_retry(bus: TaskBus, start_worker: StartWorker) -> None:
    result = (tasks.fails_until_tomorrow.s() | tasks.double.s()).delay()
    start_worker("-c", "1")
    (first,) = (view.node.id for view in bus.flow(the_flow(bus).flow.id).nodes() if not view.node.after)
    wait_until(lambda: bus.result(first).state is State.RETRY, timeout=SOON, what="the end of the first attempt")
    assert states(bus) == {"STARTED": 1, "WAITING": 1}
    bus.flow(the_flow(bus).flow.id).cancel()
    assert (the_flow(bus).state, states(bus)) == (FlowState.REVOKED, {"REVOKED": 2})
    with pytest.raises(TaskRevoked):
        result.get(timeout=SOON)


@everywhere
def test_a_task_is_replaced_by_a_workflow_whose_end_gives_its_result(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    alone = tasks.unfold.delay(4)
    inside = (tasks.unfold.s(3) | tasks.double.s()).delay()
    member = chord([tasks.unfold.s(2), tasks.unfold.s(0)], tasks.total.s()).delay()
    assert alone.get(timeout=SOON) == 10
    assert inside.get(timeout=SOON) == 12
    assert member.get(timeout=SOON) == 3


@everywhere
def test_a_member_that_kills_its_runner_once_runs_again_and_the_workflow_goes_on(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    path = tmp_path / "ran"
    result = chord([tasks.dies_once.s(str(path), 3), tasks.add.s(1, 1)], tasks.total.s()).delay()
    assert result.get(timeout=SOON) == 5
    assert lines(path) == ["ran", "ran"]


@everywhere
def test_a_chunk_is_one_message_and_gives_a_list(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    assert tasks.add.chunks([(number, 1) for number in range(5)], 2).delay().get(timeout=SOON) == [[1, 2], [3, 4], [5]]
    assert tasks.double.chunks([(1,), (2,)], 2).delay().get(timeout=SOON) == [[2, 4]]


@everywhere
def test_a_batch_tells_each_of_its_ends_once(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    ran, told = str(tmp_path / "ran"), str(tmp_path / "told")

    def tells(name: str) -> dict[str, Signature[object, str]]:
        return {when: tasks.record.si(told, f"{name}:{when}") for when in ("on_success", "on_complete", "on_death")}

    with bus.batch_of("good", **tells("good")) as good:
        good.add(tasks.adds_more.s(ran, 5))
        good.add(tasks.add.s(number, 1) | tasks.double.s() for number in range(5))
        with bus.batch_of("part", parent=good, on_complete=tasks.record.si(told, "part:on_complete")) as part:
            part.add(tasks.unfold.s(2))
    with bus.batch_of("bad", **tells("bad")) as bad:
        bad.add([tasks.fails.s(), tasks.add.s(1, 1), tasks.fails.s()])
    start_worker("-c", "2", "--coroutines", "10")
    wait_until(lambda: bus.flow(good.id).state is FlowState.SUCCESS, timeout=SOON, what="the end of the good batch")
    wait_until(lambda: bus.flow(bad.id).state is FlowState.FAILURE, timeout=SOON, what="the end of the bad batch")
    assert sorted(lines(Path(ran))) == [f"added{number}" for number in range(5)]
    ends = ["bad:on_complete", "bad:on_death", "good:on_complete", "good:on_success", "part:on_complete"]
    assert sorted(lines(Path(told))) == ends
    assert (bad.counts().succeeded, bad.counts().failed, bad.counts().dead) == (1, 2, 2)
    assert (good.counts().pending, good.counts().running, good.counts().failed) == (0, 0, 0)
    assert good.counts().succeeded == good.counts().total >= 1 + 5 + 10 + 1


# --- what does not depend on the broker ------------------------------------------------------------------------------


@on_sqlite
def test_a_member_that_fails_is_among_the_values_where_all_are_collected(
    bus: TaskBus, start_worker: StartWorker
) -> None:
    start_worker("-c", "1")
    members = group([tasks.add.s(1, 1), tasks.fails.s(), tasks.add.s(2, 2)], collect=True)
    assert chord(members, tasks.outcomes.s()).delay().get(timeout=SOON) == ["2", "no", "4"]
    assert ended(bus).state is FlowState.SUCCESS


@on_sqlite
def test_a_member_is_retried_before_its_workflow_goes_on(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    path = tmp_path / "ran"
    assert (tasks.flaky.s(str(path), 5) | tasks.double.s()).delay().get(timeout=SOON) == 10
    assert lines(path) == ["1", "2", "3"]


@on_sqlite
def test_results_that_are_off_do_not_matter_to_what_waits(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    result = chord([tasks.quiet.s(number) for number in range(4)], tasks.total.s()).delay()
    assert result.get(timeout=SOON) == 6
    assert all(not bus.store.results([view.node.id]) for view in nodes(bus) if view.node.task.endswith("quiet"))


def nodes(bus: TaskBus) -> list[NodeView]:
    return list(bus.store.nodes(the_flow(bus).flow.id, limit=1000))


@on_sqlite
def test_an_expired_member_is_a_dead_letter_and_revokes_what_waits_for_it(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    late = tasks.record.s(str(tmp_path / "late"), "late").options(expires=0.01)
    result = (late | tasks.record.si(str(tmp_path / "next"), "next")).delay()
    wait_until(lambda: bus.now() > the_flow(bus).flow.sent_at + 0.05, what="the expiry")
    start_worker("-c", "1")
    assert letters(bus)[0].reason is Reason.EXPIRED
    assert ended(bus).state is FlowState.REVOKED
    assert result.state is State.REVOKED
    assert lines(tmp_path / "late") == lines(tmp_path / "next") == []


@on_sqlite
def test_an_at_most_once_member_whose_runner_dies_is_not_run_again_and_fails_its_workflow(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    path = tmp_path / "ran"
    result = (tasks.dies.s(str(path)) | tasks.double.s()).delay()
    with pytest.raises(FlowFailed, match=r"sample_flows\.dies"):
        result.get(timeout=SOON)
    assert letters(bus)[0].reason is Reason.POISON
    assert lines(path) == ["ran"]


@on_sqlite
def test_an_at_most_once_member_whose_worker_dies_is_not_run_again_and_fails_its_workflow(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    path = tmp_path / "ran"
    first = start_worker("-c", "1", "--lease", "2")
    result = (tasks.stays.s(str(path)) | tasks.double.s()).delay()
    wait_until(lambda: lines(path) == ["ran"], what="the task")
    first.stop(9)
    start_worker("-c", "1", "--lease", "2")
    with pytest.raises(FlowFailed, match=r"sample_flows\.stays"):
        result.get(timeout=SOON)
    assert letters(bus)[0].reason is Reason.POISON
    assert lines(path) == ["ran"]


@on_sqlite
def test_an_at_most_once_member_that_does_not_end_in_time_is_not_run_again_by_the_next_worker(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    path = tmp_path / "ran"
    first = start_worker("-c", "1", "--set", "grace=0.3")
    result = (tasks.stays.s(str(path)) | tasks.double.s()).delay()
    wait_until(lambda: lines(path) == ["ran"], what="the task")
    assert first.stop() == 0
    with pytest.raises(FlowFailed, match=r"sample_flows\.stays"):
        result.get(timeout=SOON)
    start_worker("-c", "1")
    assert tasks.add.delay(1, 1).get(timeout=SOON) == 2
    assert lines(path) == ["ran"]


@on_sqlite
def test_a_task_may_be_given_more_than_a_message_may_hold(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    result = chord([tasks.blob.s(400_000) for _ in range(12)], tasks.sizes.s()).delay()
    assert result.get(timeout=SOON) == [400_000] * 12
    assert bus.config.max_message_bytes < 12 * 400_000


@on_sqlite
def test_a_member_of_a_task_that_nobody_knows_fails_its_workflow(bus: TaskBus, start_worker: StartWorker) -> None:
    @bus.task(name="nobody.knows")
    def unknown() -> int: ...

    start_worker("-c", "1")
    result = (unknown.s() | tasks.double.s()).delay()
    with pytest.raises(FlowFailed, match=r"nobody\.knows"):
        result.get(timeout=SOON)
    assert letters(bus)[0].reason is Reason.UNKNOWN_TASK


@on_sqlite
def test_a_task_knows_its_workflow(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    assert tasks.which_flow.delay().get(timeout=SOON) == ""
    assert (tasks.add.s(1, 1) | tasks.which_flow.si()).delay().get(timeout=SOON) == the_flow(bus).flow.id


@on_sqlite
@pytest.mark.parametrize("options", [("-P", "solo"), ("-P", "threads", "-c", "2")], ids=["solo", "threads"])
def test_workflows_run_in_every_kind_of_slot(bus: TaskBus, start_worker: StartWorker, options: tuple[str, ...]) -> None:
    start_worker(*options)
    book = chord([tasks.add.s(1, 1) | tasks.double.s(), tasks.unfold.s(2)], tasks.total.s()).delay()
    assert book.get(timeout=SOON) == 7


@on_sqlite
@pytest.mark.slow
def test_a_chord_of_ten_thousand_members(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "2")
    count = 10_000
    result = chord([tasks.add.s(number, 1) for number in range(count)], tasks.total.s()).delay()
    assert result.get(timeout=100) == count * (count + 1) // 2
