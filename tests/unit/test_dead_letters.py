"""Dead letters: replaying loses nothing and sends nothing twice, wherever it is interrupted."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskbus.errors import PublishFailed
from taskbus.message import CHUNK, FLOW, TAKES, Message
from taskbus.outcome import Reason, State
from taskbus.store.base import Bury, Change, Filter, Store
from taskbus.store.dead_letters import DeadLetters
from taskbus.store.flows import (
    CancelFlow,
    EndNode,
    Node,
    NodeState,
    ReviveNode,
    Start,
    Verdict,
    When,
)
from taskbus.store.opening import open_store
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.records import FAILURE, dead
from taskbus.wire import compact
from taskbus.worker.settlement import CRASHES_IN_COMPANY, HELD_SINCE
from tests.unit.letters_rig import bury, bury_member, states


class Outbox:
    """What a broker that shares the store's database does: the message is sent if the changes are written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sent: list[Message] = []
        self.accepts = 1 << 30

    def transact(self, message: Message, changes: Sequence[Change]) -> bool:
        if len(self.sent) >= self.accepts:
            raise PublishFailed("the broker is gone")
        if not self.store.apply(changes):
            return False
        self.sent.append(message)
        return True

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.sent]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(START + 1000)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: MovableClock) -> Iterator[Store]:
    url = f"memory://{tmp_path}" if request.param == "memory" else f"sqlite:///{tmp_path}/dead.db"
    opened = open_store(url, clock)
    yield opened
    opened.close()


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)


@pytest.fixture
def letters(store: Store, outbox: Outbox, clock: MovableClock) -> DeadLetters:
    return DeadLetters(store, outbox.transact, clock, max_message_bytes=4096)


def test_a_replayed_task_starts_anew_with_its_own_id_and_arguments(
    store: Store, outbox: Outbox, letters: DeadLetters, clock: MovableClock
) -> None:
    message = bury(store, "t1")
    (done,) = letters.replay()
    assert (done.task_id, done.task, done.refused) == ("t1", "mail.send", "")
    assert outbox.sent == [message._replace(attempt=1, sent_at=clock(), due_at=None, expires_at=None)]


def test_a_replayed_task_forgets_what_workers_noted_on_it(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    """Else a task that was unknown once would have no grace left, and a suspected one would run alone for ever."""
    message = bury(store, "t1")
    marked = message._replace(headers={**message.headers, HELD_SINCE: "1.5", CRASHES_IN_COMPANY: "2"})
    store.apply([Bury(dead("t1", wire=compact.encode(marked)))])
    list(letters.replay())
    assert [dict(sent.headers) for sent in outbox.sent] == [{"trace": "abc"}]


def test_a_replayed_letter_is_gone_with_its_attempts_and_its_result(store: Store, letters: DeadLetters) -> None:
    bury(store, "t1")
    list(letters.replay())
    assert (letters.count(), dict(store.attempts(["t1"])), dict(store.results(["t1"]))) == (0, {}, {})


def test_only_letters_that_match_are_replayed_oldest_first(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    for number in (3, 1, 2):
        bury(store, f"t{number}", START + number)
    bury(store, "slow", queue="slow")
    assert [done.task_id for done in letters.replay(Filter(queue="default"))] == ["t1", "t2", "t3"]
    assert [message.queue for message in outbox.sent] == ["default"] * 3
    assert [letter.task_id for letter in letters.list()] == ["slow"]
    list(letters.replay(Filter(task_ids=["slow"])))
    assert outbox.sent[-1].queue == "slow"


def test_a_dry_run_tells_and_does_nothing(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    bury(store, "t1")
    bury(store, "t2", START + 1, wire=b"rubbish")
    told = list(letters.replay(dry_run=True))
    assert [(done.task_id, bool(done.refused)) for done in told] == [("t1", False), ("t2", True)]
    assert (outbox.sent, letters.count()) == ([], 2)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"wire": b"\xff\x00rubbish"}, "not a TaskBus message"),
        ({"wire": b""}, "not a TaskBus message"),
        ({"wire": b"x" * 5000}, "larger than max_message_bytes=4096"),
        ({"content_type": "application/x-python-serialize"}, "'application/x-python-serialize' is not"),
    ],
)
def test_a_letter_that_cannot_be_read_is_refused_and_kept(
    store: Store, outbox: Outbox, letters: DeadLetters, fields: dict[str, object], why: str
) -> None:
    bury(store, "bad", START, **fields)
    bury(store, "good", START + 1)
    bad, good = letters.replay()
    assert bad.task_id == "bad" and why in bad.refused
    assert (good.task_id, good.refused) == ("good", "")
    assert [letter.task_id for letter in letters.list()] == ["bad"]
    assert outbox.ids == ["good"]


def test_replaying_may_stop_anywhere_and_go_on_later(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    ids = [f"t{number:03}" for number in range(250)]
    for number, task_id in enumerate(ids):
        bury(store, task_id, START + number // 10)
    halfway = letters.replay()
    for _ in range(120):
        next(halfway)
    halfway.close()  # type: ignore[attr-defined]
    assert outbox.ids == ids[:120]
    outbox.accepts = 200
    with pytest.raises(PublishFailed):
        list(letters.replay())
    assert (letters.count(), outbox.ids) == (50, ids[:200])
    outbox.accepts = 1 << 30
    list(letters.replay())
    assert (letters.count(), outbox.ids) == (0, ids)


def test_two_that_replay_the_same_letters_send_each_once(
    store: Store, outbox: Outbox, letters: DeadLetters, clock: MovableClock
) -> None:
    for number in range(60):
        bury(store, f"t{number:02}", START + number)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: list(letters.replay()), range(4)))
    assert sorted(outbox.ids) == [f"t{number:02}" for number in range(60)]
    assert sum(not done.refused for report in reports for done in report) == 60


def test_a_letter_that_another_took_meanwhile_is_reported_as_gone(store: Store, letters: DeadLetters) -> None:
    bury(store, "t1")
    bury(store, "t2", START + 1)
    going = letters.replay()
    next(going)
    letters.purge(Filter(task_ids=["t2"]))
    assert "gone" in next(going).refused


def test_a_limit_counts_what_was_sent(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    bury(store, "bad", wire=b"rubbish")
    for number in range(5):
        bury(store, f"t{number}", START + 1)
    assert [done.task_id for done in letters.replay(limit=2)] == ["bad", "t0", "t1"]
    assert outbox.ids == ["t0", "t1"]
    assert list(letters.replay(limit=0)) == []


def test_a_task_that_dies_again_at_once_is_not_replayed_for_ever(
    store: Store, clock: MovableClock, letters: DeadLetters, outbox: Outbox
) -> None:
    for number in range(3):
        bury(store, f"t{number}")
    for done in letters.replay():
        assert len(outbox.sent) <= 3
        bury(store, done.task_id, clock.advance(0.001))
    assert outbox.ids == ["t0", "t1", "t2"]
    assert letters.count() == 3


def test_listing_goes_through_all_pages_or_as_many_as_asked(store: Store, letters: DeadLetters) -> None:
    for number in range(230):
        bury(store, f"t{number:03}", START + number)
    assert len(list(letters.list())) == 230
    assert [letter.task_id for letter in letters.list(limit=3)] == ["t000", "t001", "t002"]
    assert len(list(letters.list(limit=150))) == 150
    assert list(letters.list(limit=0)) == []


def test_a_letter_is_shown_with_its_attempts(store: Store, letters: DeadLetters) -> None:
    bury(store, "t1")
    shown = letters.show("t1")
    assert shown is not None
    assert [attempt.failure for attempt in shown.attempts] == [FAILURE]
    assert letters.show("missing") is None


def test_purging_deletes_what_matches_and_keeps_results(store: Store, letters: DeadLetters, outbox: Outbox) -> None:
    for number in range(600):
        bury(store, f"t{number:03}")
    bury(store, "kept", reason=Reason.POISON)
    assert letters.purge(Filter(reason="retries_exhausted")) == 600
    assert [letter.task_id for letter in letters.list()] == ["kept"]
    assert store.attempts(["t000"]) == {}
    assert store.results(["t000"])["t000"].state is State.FAILURE
    assert outbox.sent == []


def test_groups_are_those_of_the_store(store: Store, letters: DeadLetters) -> None:
    bury(store, "t1")
    bury(store, "t2")
    bury(store, "t3", reason=Reason.POISON)
    assert [(group.reason, group.count) for group in letters.groups()] == [("retries_exhausted", 2), ("poison", 1)]


# --- of workflows ----------------------------------------------------------------------------------------------------


def test_a_replayed_task_of_a_workflow_lets_it_go_on(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    bury_member(store, "F")
    assert states(store, "F") == {"t1": NodeState.FAILURE, "next": NodeState.FAILURE}
    (done,) = letters.replay()
    assert done.refused == ""
    assert states(store, "F") == {"t1": NodeState.READY, "next": NodeState.WAITING}
    (message,) = outbox.sent
    assert message.headers == {"trace": "abc", FLOW: "F", CHUNK: "1"}
    (begun,) = store.begin([Start("F", "t1", "", START)])
    assert begun.verdict is Verdict.RUN
    recorded = store.apply([EndNode("F", "t1", NodeState.SUCCESS, START + 1)])
    assert recorded is not None and [each.wire for each in recorded.ready] == [b"wire"]


def test_a_task_of_a_cancelled_workflow_is_not_replayed(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    bury_member(store, "F")
    store.apply([ReviveNode("F", "t1", is_sent=True)])
    store.apply([CancelFlow("F")])
    for dry_run in (True, False):
        (done,) = letters.replay(dry_run=dry_run)
        assert "workflow F was cancelled" in done.refused
    assert outbox.sent == [] and letters.count() == 1


def test_a_task_of_a_workflow_that_is_forgotten_is_replayed_alone(
    store: Store, outbox: Outbox, letters: DeadLetters
) -> None:
    headers = {FLOW: "gone", CHUNK: "1"}
    wire = compact.encode(Message("t1", "mail.send", b"\x92\x91\x01\x80", headers=headers))
    store.apply([Bury(dead("t1", START, task="mail.send", wire=wire))])
    (done,) = letters.replay()
    assert done.refused == ""
    assert outbox.sent[0].headers == {CHUNK: "1"}


def test_one_that_was_given_a_value_by_it_is_refused(store: Store, outbox: Outbox, letters: DeadLetters) -> None:
    wire = compact.encode(Message("t1", "mail.send", b"\x92\x90\x80", headers={FLOW: "gone", TAKES: "1"}))
    store.apply([Bury(dead("t1", START, task="mail.send", wire=wire))])
    for dry_run in (True, False):
        (done,) = letters.replay(dry_run=dry_run)
        assert "its workflow gone ended longer than flow_ttl ago" in done.refused
    assert outbox.sent == [] and letters.count() == 1


def test_a_failure_is_not_taken_back_while_a_task_that_is_given_it_has_not_ended(
    store: Store, outbox: Outbox, letters: DeadLetters
) -> None:
    bury_member(store, "F", Node("e", "tell", after="t1", when=When.FAILURE, takes=True, wire=b"wire"))
    (done,) = letters.replay()
    assert "a task of its workflow F that is given its failure has not ended yet" in done.refused
    assert outbox.sent == [] and letters.count() == 1
    store.apply([EndNode("F", "e", NodeState.SUCCESS, START)])
    (done,) = letters.replay()
    assert done.refused == "" and len(outbox.sent) == 1


def test_a_workflow_that_is_forgotten_meanwhile_takes_no_letter_with_it(
    store: Store, outbox: Outbox, letters: DeadLetters, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury_member(store, "F")
    view = store.flow("F")
    answers = iter([view, None])
    monkeypatch.setattr(store, "flow", lambda id: next(answers))
    clock.advance(1_000_000)
    (done,) = letters.replay()
    assert "F ended longer than flow_ttl ago" in done.refused
    assert outbox.sent == [] and letters.count() == 1
