"""Replaying where broker and store are two databases: a worker may end the task before the replay's last step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from taskbus import TaskBus
from taskbus.broker.delivery import Record, Settlement
from taskbus.message import Message, Recorded
from taskbus.outcome import State
from taskbus.steering.letters import dead_letters_of
from taskbus.store.base import AnyChange, Exhume, ForgetAttempts, Purge, Store
from taskbus.store.dead_letters import DeadLetters
from taskbus.store.flows import Node, NodeState, When
from taskbus.store.opening import open_store
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.records import saved
from taskbus.workflow.flows import Flows
from tests.unit.letters_rig import bury, bury_member, states


class Apart:
    """What a broker does that is another database: it publishes, and then the changes are written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sent: list[Message] = []
        self.before: Callable[[], object] = lambda: None
        self.between: Callable[[], object] = lambda: None

    def transact(self, message: Message, changes: Sequence[AnyChange]) -> bool:
        self.before()
        self.sent.append(message)
        self.between()
        return self.store.apply(changes) is not None


class Killed(Exception):
    """Stands for a crash."""


def crash() -> None:
    raise Killed


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(START + 1000)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: MovableClock) -> Iterator[Store]:
    url = f"memory://{tmp_path}" if request.param == "memory" else f"sqlite:///{tmp_path}/dead.db"
    with closing(open_store(url, clock)) as opened:
        yield opened


@pytest.fixture
def apart(store: Store) -> Apart:
    return Apart(store)


@pytest.fixture
def far(store: Store, apart: Apart, clock: MovableClock) -> DeadLetters:
    return DeadLetters(store, apart.transact, clock, max_message_bytes=4096, apart=True)


def test_a_replayed_letter_is_gone_with_its_attempts_and_its_result(
    store: Store, apart: Apart, far: DeadLetters
) -> None:
    bury(store, "t1")
    (done,) = far.replay()
    assert (done.refused, len(apart.sent)) == ("", 1)
    assert (far.count(), dict(store.attempts(["t1"])), dict(store.results(["t1"]))) == (0, {}, {})


def test_a_task_that_succeeds_at_once_keeps_its_result(store: Store, apart: Apart, far: DeadLetters) -> None:
    bury(store, "t1")
    apart.between = lambda: store.apply([saved("t1", value=b"at once", ttl=9999), ForgetAttempts("t1")])
    (done,) = far.replay()
    assert (done.refused, far.count()) == ("", 0)
    assert store.results(["t1"])["t1"].value == b"at once"


def test_a_task_that_dies_again_at_once_keeps_its_new_letter(
    store: Store, apart: Apart, far: DeadLetters, clock: MovableClock
) -> None:
    bury(store, "t1")
    apart.between = lambda: bury(store, "t1", clock())
    list(far.replay())
    assert [letter.dead_at for letter in far.list()] == [clock()]
    assert store.attempts(["t1"]).keys() == store.results(["t1"]).keys() == {"t1"}
    assert store.results(["t1"])["t1"].state is State.FAILURE


@pytest.mark.parametrize("step", ["before", "between"])
def test_a_crash_between_two_steps_leaves_the_letter_to_be_sent_again(
    store: Store, apart: Apart, far: DeadLetters, step: str
) -> None:
    bury(store, "t1")
    setattr(apart, step, crash)
    with pytest.raises(Killed):
        list(far.replay())
    assert (far.count(), store.attempts(["t1"]).keys()) == (1, {"t1"})
    setattr(apart, step, lambda: None)
    assert [done.refused for done in far.replay()] == [""]
    assert (far.count(), len(apart.sent)) == (0, {"before": 1, "between": 2}[step])


def test_a_second_replay_after_a_crash_keeps_the_result_of_the_first(
    store: Store, apart: Apart, far: DeadLetters
) -> None:
    bury(store, "t1")
    apart.between = crash
    with pytest.raises(Killed):
        list(far.replay())
    apart.between = lambda: None
    store.apply([saved("t1", value=b"first", ttl=9999)])
    list(far.replay())
    assert (far.count(), store.results(["t1"])["t1"].value) == (0, b"first")


@pytest.mark.parametrize("has_died_again", [False, True])
def test_a_letter_that_another_replay_took_is_not_sent(
    store: Store, apart: Apart, far: DeadLetters, clock: MovableClock, has_died_again: bool
) -> None:
    bury(store, "t1")
    bury(store, "t2", START + 1)
    replays = far.replay()
    assert next(replays).task_id == "t1"
    store.apply([Exhume("t2")])
    if has_died_again:
        bury(store, "t2", clock() + 1)
    assert [done.refused for done in replays] == ["it is gone: replayed or purged"]
    assert [message.id for message in apart.sent] == ["t1"]
    assert (far.count(), len(store.results(["t2"]))) == (has_died_again, has_died_again)


def test_what_is_refused_keeps_its_failure(store: Store, apart: Apart, far: DeadLetters) -> None:
    bury_member(store, "F", Node("e", "tell", after="t1", when=When.FAILURE, takes=True, wire=b"wire"))
    (done,) = far.replay()
    assert "has not ended yet" in done.refused
    assert (far.count(), apart.sent) == (1, [])
    assert store.results(["t1"])["t1"].state is State.FAILURE


@pytest.mark.parametrize("way", ["dlq", "flow"])
def test_a_task_may_end_before_its_replay_does_where_an_application_has_two_databases(
    tmp_path: Path, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    broker, results = (f"sqlite:///{tmp_path}/{name}.db" for name in ("queue", "dead"))
    with TaskBus("apart", broker=broker, results=results, clock=clock) as app:
        bury(app.store, "well")
        bury(app.store, "badly", START + 1)
        transact = app.broker.transact

        def late(settlement: Settlement, record: Record, *, shared: bool) -> bool:
            def recording(changes: Sequence[AnyChange], cursor: object) -> Recorded | None:
                if settlement.follow_ups[0].id == "well":
                    app.store.apply([saved("well", value=b"done", ttl=9999)])
                else:
                    bury(app.store, "badly", clock())
                return record(changes, cursor)

            return transact(settlement, recording, shared=shared)

        monkeypatch.setattr(app.broker, "transact", late)
        letters = dead_letters_of(app) if way == "dlq" else Flows(app).letters()
        assert [done.refused for done in letters.replay()] == ["", ""]
        assert sum(size.ready for size in app.broker.queues()) == 2
        assert app.store.results(["well"])["well"].value == b"done"
        assert [(letter.task_id, letter.dead_at) for letter in letters.list()] == [("badly", clock())]


def test_where_broker_and_store_are_apart_the_workflow_waits_for_the_task_before_it_is_sent(
    tmp_path: Path, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, results = (f"sqlite:///{tmp_path}/{name}.db" for name in ("queue", "dead"))
    with TaskBus("apart", broker=broker, results=results, clock=clock) as app:
        bury_member(app.store, "F")
        found: list[NodeState] = []
        transact = app.broker.transact

        def looking(settlement: Settlement, record: Record, *, shared: bool) -> bool:
            found.append(states(app.store, "F")["t1"])
            assert settlement.changes == [Purge("t1", START)]
            return transact(settlement, record, shared=shared)

        monkeypatch.setattr(app.broker, "transact", looking)
        (done,) = dead_letters_of(app).replay()
        assert (done.refused, found) == ("", [NodeState.READY])
        assert [size.ready for size in app.broker.queues()] == [1]
