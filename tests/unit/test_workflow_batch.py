"""Batches: members that are sent as they are added, callbacks once each, nesting, and members that add members."""

from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from taskbus import Context, TaskBus, chain, group
from taskbus.context import current
from taskbus.errors import ConfigError, PublishFailed
from taskbus.message import COPY, FLOW, NO_HEADERS
from taskbus.store.flows import FlowState, NodeState, Start, Verdict
from taskbus.workflow import batch as batches
from taskbus.workflow.counts import Counts
from tests.unit.workflow_rig import messages, run


class Jobs:
    def __init__(self, app: TaskBus) -> None:
        self.heard: list[str] = []

        @app.task(name="work")
        def work(number: int = 0) -> int:
            if number < 0:
                raise ValueError(number)
            return number

        @app.task(name="tell")
        def tell(word: str) -> None:
            self.heard.append(word)

        self.work, self.tell = work, tell
        self.callbacks = {name: tell.si(name) for name in ("on_success", "on_complete", "on_death")}


@pytest.fixture(params=["shared", "apart"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskBus]:
    urls = {"broker": f"sqlite:///{tmp_path}/one.db"}
    if request.param == "apart":
        urls["results"] = f"sqlite:///{tmp_path}/two.db"
    with TaskBus("batches", **urls) as made:
        yield made


@pytest.fixture
def jobs(app: TaskBus) -> Jobs:
    return Jobs(app)


# --- from its beginning to its end ----------------------------------------------------------------------------------


def test_callbacks_run_once_when_all_have_succeeded(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("import", **jobs.callbacks) as batch:
        batch.add(jobs.work.s(1))
        batch.add(jobs.work.s(number) for number in range(2, 5))
        batch.add(group(jobs.work.s(5), jobs.work.s(6) | jobs.work.si(7)))
    assert batch.counts() == Counts(pending=7)
    run(app)
    assert sorted(jobs.heard) == ["on_complete", "on_success"]
    assert batch.counts() == Counts(succeeded=7)
    view = app.flow(batch.id).view()
    assert view is not None
    assert (view.flow.name, view.state) == ("import", FlowState.SUCCESS)
    assert repr(batch) == f"<Batch {batch.id}>"


def test_the_first_death_is_told_at_once_and_success_never(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("import", **jobs.callbacks) as batch:
        batch.add([jobs.work.s(-1), jobs.work.s(-2), jobs.work.s(1)])
    run(app, most=1)
    assert any(message.task == "tell" for message in messages(app)), "others may still wait"
    run(app)
    assert sorted(jobs.heard) == ["on_complete", "on_death"]
    assert app.flow(batch.id).state is FlowState.FAILURE


def test_a_batch_of_nothing_succeeds(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("nothing", **jobs.callbacks):
        pass
    run(app)
    assert sorted(jobs.heard) == ["on_complete", "on_success"]


def test_a_batch_is_not_over_before_its_block_is(app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FLUSH_AT", 1)
    with app.batch_of("slow", **jobs.callbacks) as batch:
        batch.add(jobs.work.s(1))
        assert run(app) == ["work"], "members run while others are added"
        assert jobs.heard == []
        batch.add(jobs.work.s(2))
    assert run(app) == ["work", "tell", "tell"]


def test_members_are_sent_as_they_are_added_and_not_kept(
    app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FLUSH_AT", 10)
    most = 0
    with app.batch_of("many") as batch:
        for number in range(95):
            batch.add(jobs.work.s(number))
            most = max(most, len(batch._weaver.nodes))
            assert len(messages(app)) == (number + 1) // 10 * 10
    assert most < 10
    assert len(messages(app)) == 95


def test_other_tasks_sent_in_the_block_are_no_members(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("only what is added") as batch:
        jobs.work.delay(1)
        batch.add(jobs.work.s(2))
    assert batch.counts().total == 1
    assert sorted(FLOW in message.headers for message in messages(app)) == [False, True]


def test_a_task_that_is_added_twice_by_its_id_runs_once(
    app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FLUSH_AT", 1)
    with app.batch_of("twice", **jobs.callbacks) as batch:
        for _ in range(2):
            batch.add(jobs.work.s(1).options(task_id="mine"))
    one, two = messages(app)
    verdicts = [app.store.begin([Start(batch.id, "mine", each.headers[COPY], 1.0)])[0].verdict for each in (one, two)]
    assert verdicts == [Verdict.RUN, Verdict.DUPLICATE]
    assert run(app) == ["work", "tell", "tell"]
    assert sorted(jobs.heard) == ["on_complete", "on_success"]


# --- errors ---------------------------------------------------------------------------------------------------------


def test_an_error_in_the_block_calls_it_off(app: TaskBus, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FLUSH_AT", 2)
    with pytest.raises(ZeroDivisionError), app.batch_of("broken", **jobs.callbacks) as batch:
        batch.add(jobs.work.s(number) for number in range(3))
        raise ZeroDivisionError
    assert len(messages(app)) == 2
    assert run(app) == []
    assert jobs.heard == []
    view = app.flow(batch.id).view()
    assert view is not None
    assert (view.is_cancelled, view.state, view.counts[NodeState.REVOKED]) == (True, FlowState.REVOKED, 2)


def test_making_a_batch_connects_to_nothing(tmp_path: Path) -> None:
    app = TaskBus("nowhere", broker=f"sqlite:///{tmp_path}/no/such/folder.db")
    batch = app.batch_of("later")
    with pytest.raises(PublishFailed), batch:
        pass


def test_members_are_added_inside_the_block_alone(app: TaskBus, jobs: Jobs) -> None:
    batch = app.batch_of("closed")
    with pytest.raises(ConfigError, match="add to a batch inside its block"):
        batch.add(jobs.work.s(1))
    with batch:
        batch.add(jobs.work.s(1))
    with pytest.raises(ConfigError, match="add to a batch inside its block"):
        batch.add(jobs.work.s(2))


def test_what_is_no_member_is_refused(app: TaskBus, jobs: Jobs) -> None:
    loose: Any = jobs.work
    with pytest.raises(ConfigError, match=r"write work\.s"), app.batch_of("wrong") as batch:
        batch.add([loose])


def test_a_batch_that_is_not_there_cannot_be_opened(app: TaskBus, jobs: Jobs) -> None:
    with pytest.raises(ConfigError, match="there is no batch 'gone'"), app.open_batch("gone"):
        pass
    flow = chain(jobs.work.s(1), jobs.work.si(2)).delay().flow_id
    with pytest.raises(ConfigError, match="there is no batch"), app.open_batch(flow):
        pass


def test_nothing_is_added_to_a_batch_that_has_ended(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("over") as batch:
        batch.add(jobs.work.s(1))
    run(app)
    with pytest.raises(PublishFailed, match="the batch has ended"), app.open_batch(batch.id) as again:
        again.add(jobs.work.s(2))
    assert messages(app) == []


# --- in one another -------------------------------------------------------------------------------------------------


def test_a_batch_in_a_batch_is_a_member_of_it(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("outer", on_success=jobs.tell.si("outer")) as outer:
        outer.add(jobs.work.s(1))
        with app.batch_of("inner", on_success=jobs.tell.si("inner"), parent=outer) as inner:
            inner.add(jobs.work.s(2))
        assert inner.id.startswith(f"{outer.id}/")
    assert inner.counts() == outer.counts()
    run(app)
    assert jobs.heard == ["inner", "outer"]
    assert app.flow(outer.id).state is FlowState.SUCCESS


def test_a_death_inside_is_a_death_of_the_outer_one_too(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("outer", on_death=jobs.tell.si("outer")) as outer:
        outer.add(jobs.work.s(1))
        with app.batch_of("inner", on_death=jobs.tell.si("inner"), parent=outer) as inner:
            inner.add(jobs.work.s(-1))
    run(app)
    assert sorted(jobs.heard) == ["inner", "outer"]


def test_an_error_in_the_inner_block_does_not_hold_up_the_outer_one(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("outer", on_complete=jobs.tell.si("outer")) as outer:
        outer.add(jobs.work.s(1))
        with pytest.raises(ZeroDivisionError), app.batch_of("inner", parent=outer) as inner:
            inner.add(jobs.work.s(1))
            raise ZeroDivisionError
    assert run(app) == ["work", "tell"]
    assert jobs.heard == ["outer"]


# --- members that add members ---------------------------------------------------------------------------------------


class Loader:
    """Runs code as an attempt of a member would."""

    def __init__(self, app: TaskBus, jobs: Jobs) -> None:
        with app.batch_of("loaded", **jobs.callbacks) as self.batch:
            self.batch.add(jobs.work.s(0).options(task_id="loader"))

    def attempt(self, load: Any, number: int = 1) -> None:
        def body() -> None:
            context = Context("loader", "work", number, headers={FLOW: self.batch.flow_id})
            current.set(context)
            load(context)

        copy_context().run(body)


def test_a_member_adds_others_and_its_batch_waits_for_them(app: TaskBus, jobs: Jobs) -> None:
    loader = Loader(app, jobs)

    def load(context: Context) -> None:
        with app.open_batch(context.flow_id) as batch:
            batch.add(jobs.work.s(number) for number in (1, 2))

    loader.attempt(load)
    assert run(app) == ["work"] * 3 + ["tell"] * 2


def test_what_an_earlier_attempt_had_added_is_not_added_again(app: TaskBus, jobs: Jobs) -> None:
    loader = Loader(app, jobs)

    def load(context: Context) -> None:
        with app.open_batch(context.flow_id) as batch:
            batch.add([jobs.work.s(7), jobs.work.s(7), jobs.work.s(8) | jobs.work.s()])
        with app.open_batch(context.flow_id) as batch:
            batch.add(jobs.work.s(7))
            batch.add(group(jobs.work.s(9), jobs.work.s(context.attempt)))

    loader.attempt(load, 1)
    assert loader.batch.counts().total == 1 + 3 + 2 + 2, "the loader, and what it added"
    loader.attempt(load, 1)
    assert loader.batch.counts().total == 8
    loader.attempt(load, 2)
    assert loader.batch.counts().total == 10, "what is not the same is added"
    ran = run(app)
    assert (ran.count("work"), ran.count("tell")) == (10, 2)


def test_a_batch_that_a_member_opens_is_one_whatever_the_number_of_attempts(app: TaskBus, jobs: Jobs) -> None:
    loader = Loader(app, jobs)
    seen: list[str] = []

    def load(context: Context) -> None:
        outer = app.open_batch(context.flow_id)
        with app.batch_of("part", parent=outer, on_complete=jobs.tell.si("part")) as batch:
            batch.add(jobs.work.s(1))
            seen.append(batch.id)
            if context.attempt == 1:
                batch._flush()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loader.attempt(load, 1)
    loader.attempt(load, 2)
    assert len(set(seen)) == 1
    ran = run(app)
    assert (ran.count("work"), sorted(jobs.heard)) == (2, ["on_complete", "on_success", "part"])


def test_where_an_earlier_attempt_has_ended_its_batch_a_later_one_opens_another(app: TaskBus, jobs: Jobs) -> None:
    with app.batch_of("loaded") as outer:
        outer.add([jobs.work.s(0).options(queue="other", task_id="loader")])

    def attempt(number: int) -> None:
        current.set(Context("loader", "work", number, headers={FLOW: outer.flow_id}))
        with app.batch_of("part", parent=app.open_batch(outer.flow_id)) as batch:
            batch.add(jobs.work.s(1))
            if number == 1:
                batch._flush()
                raise ZeroDivisionError
            batch.add(jobs.work.s(2))

    with pytest.raises(ZeroDivisionError):
        copy_context().run(attempt, 1)
    assert run(app) == ["work"]
    copy_context().run(attempt, 2)
    assert run(app) == ["work"]
    assert run(app, "other") == ["work"]
    assert app.flow(outer.id).state is FlowState.SUCCESS


def test_outside_of_its_tasks_every_addition_is_a_new_one(app: TaskBus, jobs: Jobs) -> None:
    current.set(Context("another", "work", headers=NO_HEADERS))
    with app.batch_of("plain") as batch:
        batch.add([jobs.work.s(1), jobs.work.s(1)])
    with app.open_batch(batch.id) as batch:
        batch.add(jobs.work.s(1))
    current.set(None)
    assert run(app) == ["work"] * 3
