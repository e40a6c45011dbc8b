"""How a workflow is begun: what is written and published, in which order, and what is left where that fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from taskbus import Middleware, TaskBus, chain, chord, group
from taskbus.errors import BrokerError, ConfigError, PublishFailed, PublishUnknown, StoreError
from taskbus.message import COPY, FLOW, TAKES, Message, Recorded
from taskbus.store.flows import AddNodes, BeginFlow, FlowState, NodeState, ReplaceNode, Start, Verdict
from taskbus.workflow import flows
from taskbus.workflow.counts import Counts
from taskbus.workflow.replacing import replacement
from tests.unit.workflow_rig import messages, run

PLACES = ["shared", "apart", "memory"]


@pytest.fixture(params=PLACES)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskBus]:
    """An application whose broker and store are one database, two, or in this process."""
    urls = {
        "shared": {"broker": f"sqlite:///{tmp_path}/one.db"},
        "apart": {"broker": f"sqlite:///{tmp_path}/one.db", "results": f"sqlite:///{tmp_path}/two.db"},
        "memory": {"broker": f"memory://{tmp_path.name}"},
    }[request.param]
    with TaskBus("begin", **urls) as made:
        define(made)
        yield made


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[TaskBus]:
    with TaskBus("begin", broker=f"sqlite:///{tmp_path}/one.db") as made:
        define(made)
        yield made


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[TaskBus]:
    with TaskBus("begin", broker=f"sqlite:///{tmp_path}/one.db", results=f"sqlite:///{tmp_path}/two.db") as made:
        define(made)
        yield made


def define(app: TaskBus) -> None:
    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task(name="total")
    def total(values: list[int]) -> int:
        return sum(values)


class Spy:
    """Stands before a store: keeps what is asked of it, and fails when told to."""

    def __init__(self, app: TaskBus) -> None:
        self._apply = app.store.apply
        self.applied: list[Any] = []
        self.fails_on: type | None = None
        app.store.apply = self.apply  # type: ignore[method-assign]

    def apply(self, changes: Sequence[Any], transaction: Any = None) -> Recorded | None:
        self.applied += changes
        if self.fails_on is not None and any(isinstance(change, self.fails_on) for change in changes):
            raise StoreError("the disk is full")
        return self._apply(changes, transaction)

    @property
    def kinds(self) -> list[str]:
        return [type(change).__name__ for change in self.applied]


def add(app: TaskBus) -> Any:
    return app.tasks["add"]


def total(app: TaskBus) -> Any:
    return app.tasks["total"]


# --- what is written ------------------------------------------------------------------------------------------------


def test_it_is_recorded_once_and_its_first_tasks_are_sent(app: TaskBus) -> None:
    spy = Spy(app)
    result = chord((add(app).s(n) for n in range(3)), total(app).s()).delay()
    assert spy.kinds == ["BeginFlow"]
    sent = messages(app)
    assert [message.task for message in sent] == ["add"] * 3
    assert {message.headers[FLOW] for message in sent} == {result.flow_id}
    assert len({message.headers.get(COPY) for message in sent}) == (1 if app.shares_database else 3)
    assert run(app) == ["add", "add", "add", "total"]
    assert result.get(0) == 3
    view = app.flow(result.flow_id).view()
    assert view is not None
    assert (view.state, view.flow.last, view.flow.ttl) == (FlowState.SUCCESS, result.id, app.config.flow_ttl)


def test_a_body_that_waits_for_nothing_is_sent_at_once(app: TaskBus) -> None:
    result = chord([], total(app).s()).delay()
    assert [message.task for message in messages(app)] == ["total"]
    assert run(app) == ["total"]
    assert result.get(0) == 0


async def _send(app: TaskBus) -> Any:
    return await chain(add(app).s(1), add(app).s(2)).adelay()


def test_it_is_sent_from_async_code(app: TaskBus) -> None:
    import asyncio

    result = asyncio.run(_send(app))
    assert run(app) == ["add", "add"]
    assert result.get(0) == 3


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_a_large_one_is_recorded_in_pieces_before_anything_is_sent(
    app: TaskBus, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(flows, "AT_ONCE", most)
    spy = Spy(app)
    parts = [chord([], total(app).s()), group(), *(add(app).s(n) | add(app).s(1) for n in range(3))]
    result = group(*parts, collect=True).delay()
    assert spy.kinds[:1] == ["BeginFlow"]
    assert set(spy.kinds[1:]) <= {"AddNodes"}
    assert sum(len(change.nodes) for change in spy.applied) == 1 + 2 + 1 + 6
    run(app)
    assert result.get(0) == [0, [], 1, 2, 3]
    assert app.flow(result.flow_id).state is FlowState.SUCCESS


def test_it_is_begun_at_once_inside_a_batch_of_messages(app: TaskBus) -> None:
    with app.batch():
        chain(add(app).s(1), add(app).s(2)).delay()
        assert len(messages(app)) == 1


class Traced(Middleware):
    """Adds a header, and forgets all others."""

    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        yield message._replace(id="forged", headers={"trace": message.task})


def test_middleware_sees_the_first_tasks_and_cannot_take_them_out_of_their_workflow(app: TaskBus) -> None:
    app.middleware.append(Traced())
    result = group(add(app).s(1), total(app).s([])).delay()
    sent = messages(app)
    assert [message.headers["trace"] for message in sent] == ["add", "total"]
    assert {message.headers[FLOW] for message in sent} == {result.flow_id}
    assert [message.id for message in sent] == [each.id for each in result]


def test_middleware_sees_the_tasks_that_wait_too(app: TaskBus) -> None:
    app.middleware.append(Traced())
    result = chord([add(app).s(1), add(app).s(2)], total(app).s() | add(app).s(5)).delay()
    found: list[Message] = []
    assert run(app, before=found.append) == ["add", "add", "total", "add"]
    assert [message.headers["trace"] for message in found] == ["add", "add", "total", "add"]
    assert {message.headers[FLOW] for message in found} == {result.flow_id}
    assert [TAKES in message.headers for message in found] == [False, False, True, True]


class Rerouted(Middleware):
    """Sends everything to another queue, later."""

    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        yield message._replace(queue="other", priority=7, due_at=message.sent_at + 60)


def test_middleware_says_where_and_when_tasks_that_wait_run(app: TaskBus) -> None:
    app.middleware.append(Rerouted())
    result = chain(add(app).s(1), add(app).s(2)).delay()
    (waiting,) = [view.node for view in app.flow(result.flow_id).nodes() if view.node.after]
    assert (waiting.queue, waiting.priority) == ("other", 7)
    assert waiting.due_at == pytest.approx(app.now() + 60, abs=30)


def test_the_first_tasks_may_be_sent_for_later(app: TaskBus) -> None:
    chain(add(app).s(1).options(countdown=60), add(app).s(2)).delay()
    (message,) = messages(app)
    assert message.due_at is not None
    assert message.due_at > app.now() + 50
    assert run(app) == []


def test_a_task_that_waits_may_count_down_from_when_its_turn_has_come(app: TaskBus) -> None:
    chain(add(app).s(1), add(app).s(2).options(countdown=60)).delay()
    assert run(app) == ["add"]
    assert [queue.delayed for queue in app.broker.queues()] == [1]


# --- in a transaction of the caller's -------------------------------------------------------------------------------


def test_it_begins_with_the_commit_of_the_callers_session_or_never(shared: TaskBus, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/one.db")
    shared.broker.ping()
    shared.store.results(())
    with Session(engine) as session:
        joined = add(shared).using(session)
        lost = (joined.s(1) | joined.s(2)).delay()
        session.rollback()
        kept = (joined.s(1) | add(shared).s(2)).delay()
        assert messages(shared) == []
        session.commit()
    engine.dispose()
    assert len(messages(shared)) == 1
    assert shared.flow(lost.flow_id).view() is None
    assert run(shared) == ["add", "add"]
    assert kept.get(0) == 3


def test_a_session_needs_one_database_for_all(apart: TaskBus, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/one.db")
    with Session(engine) as session, pytest.raises(ConfigError, match="broker and results are both in the session's"):
        (add(apart).using(session).s(1) | add(apart).s(2)).delay()
    with Session(engine) as one, Session(engine) as two, pytest.raises(ConfigError, match="several sessions"):
        (add(apart).using(one).s(1) | add(apart).using(two).s(2)).delay()
    engine.dispose()


# --- what fails -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_recorded_is_not_sent(app: TaskBus) -> None:
    Spy(app).fails_on = BeginFlow
    with pytest.raises(PublishFailed, match=r"workflow 'add \| add' \(.*\) was not sent: the disk is full"):
        (add(app).s(1) | add(app).s(2)).delay()
    assert messages(app) == []
    assert list(app.flows()) == []


def test_what_is_recorded_by_half_is_called_off(app: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "AT_ONCE", 2)
    Spy(app).fails_on = AddNodes
    with pytest.raises(PublishFailed, match="the disk is full"):
        chain(add(app).s(n) for n in range(5)).delay()
    assert messages(app) == []
    (view,) = app.flows()
    assert view.is_cancelled
    assert view.state is FlowState.REVOKED


def test_what_is_recorded_and_cannot_be_sent_is_called_off(apart: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, parcels: Sequence[Any]) -> None:
        raise BrokerError("no room")

    monkeypatch.setattr(type(apart.broker._storage()), "publish", refuse)
    with pytest.raises(PublishFailed, match="no room"):
        chord([add(apart).s(1), add(apart).s(2)], total(apart).s()).delay()
    (view,) = apart.flows()
    assert (view.state, view.counts[NodeState.REVOKED]) == (FlowState.REVOKED, 3)


def test_where_some_of_many_messages_may_be_lost_nothing_runs(apart: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = apart.broker._storage()
    publish, rounds = storage.publish, iter((False, True))

    def refuse(_: object, parcels: Sequence[Any]) -> None:
        if next(rounds):
            raise PublishUnknown("it did not answer")
        publish(parcels)

    monkeypatch.setattr("taskbus.broker.broker.AT_ONCE", 2)
    monkeypatch.setattr(type(storage), "publish", lambda self, parcels: refuse(self, parcels))
    with pytest.raises(PublishUnknown, match="may have been sent, or not: it did not answer"):
        group(add(apart).s(n) for n in range(5)).delay()
    (view,) = apart.flows()
    assert (view.state, view.counts) == (FlowState.REVOKED, {NodeState.REVOKED: 5})
    assert run(apart) == []


class Lost(BrokerError):
    """As a transport's, whose cause says that the answer was lost."""


def test_a_lost_answer_is_found_out_by_asking_the_store(shared: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskbus.database.port import OutcomeUnknown

    storage = shared.broker._storage()
    settle = storage.settle

    def lose(_: object, *args: Any, **kwargs: Any) -> Any:
        settle(*args, **kwargs)
        raise Lost("the connection broke") from OutcomeUnknown("the connection broke")

    monkeypatch.setattr(type(storage), "settle", lose)
    result = (add(shared).s(1) | add(shared).s(2)).delay()
    monkeypatch.undo()
    assert run(shared) == ["add", "add"]
    assert result.get(0) == 3


def test_where_the_store_does_not_know_it_the_outcome_is_unknown(
    shared: TaskBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskbus.database.port import OutcomeUnknown

    def lose(_: object, *args: Any, **kwargs: Any) -> Any:
        raise Lost("the connection broke") from OutcomeUnknown("the connection broke")

    monkeypatch.setattr(type(shared.broker._storage()), "settle", lose)
    with pytest.raises(PublishUnknown, match="may have been sent, or not: the connection broke"):
        (add(shared).s(1) | add(shared).s(2)).delay()


def test_a_lone_task_that_is_run_again_is_replaced_by_one_task_once(apart: TaskBus) -> None:
    """As when its worker died between the record and the ack, and what replaced it runs already."""
    lone = Message("lone", "add", b"\x92\x90\x80", sent_at=apart.now())
    flow, nodes = replacement(add(apart).s(1, 2), lone, now=apart.now(), ttl=100.0)
    first = apart.store.apply([ReplaceNode(flow, nodes)])
    assert first is not None and len(first.ready) == 1
    (begun,) = apart.store.begin([Start(flow.id, "lone", "copy", apart.now())])
    assert begun.verdict is Verdict.RUN
    flow, nodes = replacement(add(apart).s(1, 2), lone, now=apart.now() + 30, ttl=100.0)
    again = apart.store.apply([ReplaceNode(flow, nodes)])
    assert again is not None and not again.ready
    assert apart.flow(flow.id).counts() == Counts(running=1)


def test_a_broker_out_of_reach_is_an_outcome_of_the_send(tmp_path: Path) -> None:
    with TaskBus("begin", broker=f"sqlite:///{tmp_path}/no/such/folder/one.db") as app:
        define(app)
        with pytest.raises(PublishFailed):
            (add(app).s(1) | add(app).s(2)).delay()


# --- in Celery's words ----------------------------------------------------------------------------------------------


def test_a_task_may_be_sent_with_what_to_run_after_it(app: TaskBus) -> None:
    heard: list[Any] = []
    hear = app.task(name="hear")(lambda value: heard.append(value))

    @app.task(name="boom")
    def boom() -> None:
        raise ValueError("no")

    done = add(app).apply_async((1,), {"b": 2}, link=[hear.s(), hear.si("linked")], link_error=hear.s(), priority=3)
    assert [message.priority for message in messages(app)] == [3]
    run(app)
    failed = boom.apply_async(link=hear.s(), link_error=hear.s())
    run(app)
    assert {*heard[:2]} == {3, "linked"}
    (told,) = heard[2:]
    assert (told.task_id, told.task, told.error, told.message) == (failed.id, "boom", "builtins.ValueError", "no")
    assert done.get(0) == 3


def test_a_whole_workflow_may_be_sent_with_options_and_links(app: TaskBus) -> None:
    heard: list[Any] = []
    hear = app.task(name="hear")(lambda value: heard.append(value))
    made = chain(add(app).s(1), add(app).s(2))
    made.apply_async((10,), queue="urgent", task_id="its-end", link=hear.s().options(queue="urgent"))
    assert run(app, "urgent") == ["add", "add", "hear"]
    assert heard == [13]
    assert app.result("its-end").get(0) == 13


def test_a_chord_that_is_called_with_its_body_is_sent(app: TaskBus) -> None:
    result = chord(add(app).s(n) for n in range(3))(total(app).s())
    assert run(app) == ["add", "add", "add", "total"]
    assert result.get(0) == 3
