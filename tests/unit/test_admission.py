"""What becomes of a fetch: tasks of flows are begun by one call, and the answer says what is done with each."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskbus import codec
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.config import Config
from taskbus.errors import BrokerError, StoreError
from taskbus.message import COPY, FLOW, Message, Recorded, Sealed
from taskbus.outcome import Dead, Failure, Reason, Released, Revoked
from taskbus.store.flows import Begun, EndNode, Inputs, Kept, NodeState, Start, Verdict
from taskbus.wire import compact
from taskbus.worker import flows as flows_module
from taskbus.worker.admission import Admission, Admitted
from taskbus.worker.flows import Flows, measured, plain, stamped
from taskbus.worker.intake import Intake
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Ended

NOW = 120.0
SPECS = {"app.add": TaskSpec(), "app.once": TaskSpec(at_most_once=True)}
BOOM = Failure("builtins.ValueError", "boom", "Traceback ...")


class Queue:
    """The part of a consumer that an admission uses."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.error: Exception | None = None

    def now(self) -> float:
        return NOW

    def settle(self, settlements: Sequence[Settlement], record: object, *, shared: bool) -> list[Delivery]:
        if self.error is not None:
            raise self.error
        self.settled += settlements
        return []


class Begin:
    """A store's ``begin`` that answers what it is told to."""

    def __init__(self, *answers: Begun) -> None:
        self.answers = list(answers)
        self.asked: list[Sequence[Start]] = []
        self.error: Exception | None = None

    def __call__(self, starts: Sequence[Start]) -> Sequence[Begun]:
        self.asked.append(starts)
        if self.error is not None:
            raise self.error
        return [self.answers.pop(0) for _ in starts]


def delivery(id: str, task: str = "app.add", flow: str = "", tag: int = 1, losses: int = 0, **headers: str) -> Delivery:
    headers = {
        **({FLOW: flow} if flow else {}),
        **{COPY if name == "copy" else name: headers[name] for name in headers},
    }
    wire = compact.encode(Message(id, task, b"\x92\x90\x80", sent_at=100.0, headers=headers))
    return Delivery(tag, "q", wire, compact.CONTENT_TYPE, 0, 1, losses=losses)


def admission(begin: Begin, queue: Queue | None = None) -> Admission:
    return Admission(
        Intake(SPECS, Config()), Flows(begin, shared=False), queue or Queue(), lambda *_: Recorded(), shared=True
    )  # type: ignore[arg-type]


def admit(begun: Begun, **fields: Any) -> Admitted:
    return admission(Begin(begun)).admit([delivery("a", flow="F", **fields)])


def kept(given: Any = None, **changes: Any) -> Kept:
    return Kept("n", "app.add", NodeState.SUCCESS, codec.encode(given), "msgpack", None)._replace(**changes)


def test_what_is_in_no_flow_asks_the_store_nothing() -> None:
    begin = Begin()
    admitted = admission(begin).admit([delivery("a"), delivery("b", trace="abc", tag=2)])
    assert [held.message.id for held in admitted.to_run if held.message] == ["a", "b"]
    assert begin.asked == []


def test_all_tasks_of_flows_in_a_fetch_are_begun_by_one_call_and_keep_their_order() -> None:
    begin = Begin(Begun(Verdict.RUN), Begun(Verdict.DUPLICATE), Begun(Verdict.RUN))
    fetched = [
        delivery("a", flow="F", tag=1, copy="c"),
        delivery("b", tag=2),
        delivery("c", flow="F", tag=3),
        delivery("d", flow="G", tag=4),
    ]
    admitted = admission(begin).admit(fetched)
    assert begin.asked == [[Start("F", "a", "c", NOW), Start("F", "c", "", NOW), Start("G", "d", "", NOW)]]
    assert [held.delivery.tag for held in admitted.to_run] == [1, 2, 4]
    assert admitted.other == [Settlement(fetched[2])]


def test_what_cannot_run_anyway_is_not_begun() -> None:
    begin = Begin()
    admitted = admission(begin).admit(
        [delivery("a", flow="F", losses=99), delivery("b", "app.unknown", flow="F", tag=2)]
    )
    assert begin.asked == []
    assert (len(admitted.to_run), len(admitted.ended), len(admitted.other)) == (0, 1, 1)
    (waiting,) = admitted.other[0].follow_ups
    assert waiting.headers[FLOW] == "F"


def test_one_that_has_ended_tells_its_flow_so_again_and_is_not_run() -> None:
    admitted = admit(Begun(Verdict.ENDED))
    (again,) = admitted.other
    (change,) = again.changes
    assert isinstance(change, EndNode)
    assert (again.act, change) == (Act.ACK, EndNode("F", "a", NodeState.SKIPPED, NOW))
    assert not admitted.to_run and not admitted.ended


def test_in_one_database_one_that_has_ended_is_only_acked() -> None:
    came = delivery("a", flow="F")
    flows = Flows(Begin(Begun(Verdict.ENDED)), shared=True)
    admitted = Admission(Intake(SPECS, Config()), flows, Queue(), lambda *_: Recorded(), shared=True).admit([came])  # type: ignore[arg-type]
    assert admitted.other == [Settlement(came)], "what it made ready was published by the step that ended it"
    assert not admitted.to_run and not admitted.ended


def test_one_whose_flow_was_cancelled_is_revoked() -> None:
    (ended,) = admit(Begun(Verdict.REVOKED)).ended
    assert isinstance(ended, Ended) and isinstance(ended.outcome, Revoked)


def test_one_of_a_flow_that_is_forgotten_is_dropped_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    admitted = admit(Begun(Verdict.UNKNOWN))
    assert [(each.act, list(each.changes)) for each in admitted.other] == [(Act.ACK, [])]
    assert "app.add a is dropped" in caplog.text and "workflow F" in caplog.text


def test_while_the_store_is_gone_tasks_of_flows_go_back_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin = Begin(Begun(Verdict.RUN))
    begin.error = StoreError("it is down")
    admitting = admission(begin)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            admitted = admitting.admit([delivery("a", flow="F"), delivery("b", tag=2)])
            assert [held.delivery.tag for held in admitted.to_run] == [2]
            (ended,) = admitted.ended
            assert isinstance(ended.outcome, Released) and ended.outcome.delay > 0
    assert len(caplog.records) == 1 and "it is down" in caplog.text
    begin.error = None
    assert len(admitting.admit([delivery("a", flow="F")]).to_run) == 1


# --- what it is given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "form"),
    [
        (kept(5), b"\x05"),
        (kept(content_type="json", value=b"5"), ["json", b"5"]),
        (kept(value=b""), b"\xc0"),
        (kept(state=NodeState.SKIPPED, value=b""), b"\xc0"),
        (kept(state=NodeState.FAILURE, value=b"", failure=BOOM), ["n", "app.add", "builtins.ValueError", "boom"]),
        (kept(state=NodeState.REVOKED, value=b""), ["n", "app.add", "taskbus.errors.TaskRevoked", "it was called off"]),
        ((), [[]]),
        ((kept(1), (kept(2), kept(3))), [[b"\x01", [[b"\x02", b"\x03"]]]]),
    ],
)
def test_inputs_become_what_a_frame_can_carry(inputs: Inputs, form: object) -> None:
    assert plain(inputs) == form
    (held,) = admit(Begun(Verdict.RUN, inputs)).to_run
    assert held.inputs == form


def test_a_task_that_takes_nothing_is_given_nothing() -> None:
    (held,) = admit(Begun(Verdict.RUN)).to_run
    assert held.inputs is None


def test_more_than_a_frame_holds_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows_module, "MAX_GIVEN", 1000)
    (held,) = admit(Begun(Verdict.RUN, kept(b"x" * 500))).to_run
    assert len(held.inputs) > 500
    (ended,) = admit(Begun(Verdict.RUN, [kept(b"x" * 500), kept(b"x" * 500)])).ended
    assert isinstance(ended.outcome, Dead) and ended.outcome.reason is Reason.TOO_LARGE


def test_lists_too_deep_for_any_argument_are_a_dead_letter() -> None:
    inputs: Inputs = kept(1)
    for _ in range(5000):
        inputs = [inputs]
    (ended,) = admit(Begun(Verdict.RUN, inputs)).ended
    assert isinstance(ended.outcome, Dead) and ended.outcome.reason is Reason.BAD_ARGUMENTS


def test_inputs_are_never_measured_too_small() -> None:
    for inputs in ([kept("é" * 300)] * 50, [kept(state=NodeState.FAILURE, value=b"", failure=BOOM)] * 50):
        assert measured(inputs)[0] >= len(codec.encode(plain(inputs)))


# --- at most once ----------------------------------------------------------------------------------------------------


def test_at_most_once_is_off_its_queue_before_it_runs_but_not_in_a_flow() -> None:
    queue = Queue()
    fetched = [delivery("a", "app.once"), delivery("b", "app.once", flow="F", tag=2)]
    admitted = admission(Begin(Begun(Verdict.RUN)), queue).admit(fetched)
    assert [each.delivery for each in queue.settled] == fetched[:1]
    assert [(held.delivery.tag, held.is_acked) for held in admitted.to_run] == [(1, True), (2, False)]


def test_an_at_most_once_task_of_a_flow_that_comes_again_is_not_run() -> None:
    begin = Begin()
    (ended,) = admission(begin).admit([delivery("a", "app.once", flow="F", losses=1)]).ended
    assert isinstance(ended.outcome, Dead) and ended.outcome.reason is Reason.POISON
    assert "at most once" in ended.outcome.failure.message
    assert begin.asked == []
    assert len(admission(begin).admit([delivery("a", flow="", losses=1)]).to_run) == 1


def test_what_cannot_be_taken_off_its_queue_does_not_run() -> None:
    queue = Queue()
    queue.error = BrokerError("gone")
    admitted = admission(Begin(Begun(Verdict.RUN)), queue).admit(
        [delivery("a", "app.once"), delivery("b", "app.once", flow="F", tag=2), delivery("c", tag=3)]
    )
    assert [held.delivery.tag for held in admitted.to_run] == [2, 3]
    assert [ended.outcome for ended in admitted.ended] == [Released()]


def test_what_may_have_started_and_must_not_run_again_is_counted_when_all_is_given_back() -> None:
    queue = Queue()
    admitting = admission(Begin(Begun(Verdict.RUN), Begun(Verdict.RUN)), queue)
    fetched = [delivery("a", "app.once"), delivery("b", "app.once", flow="F", tag=2), delivery("c", flow="F", tag=3)]
    held = admitting.admit(fetched).to_run
    queue.settled.clear()
    admitting.own_up(held)
    assert queue.settled == [Settlement(fetched[1], Act.CRASH)]
    queue.error = BrokerError("gone")
    admitting.own_up(held)


# --- what becomes ready ----------------------------------------------------------------------------------------------


def sealed(id: str) -> Sealed:
    message = Message(id, "app.add", b"body", headers={FLOW: "F", "mine": "kept"})
    return Sealed("q", 3, compact.encode(message), 150.0)


def copies(record: Callable[[Sequence[Any], Any], Recorded | None]) -> list[Message]:
    recorded = record([], None)
    assert recorded is not None
    assert all((each.queue, each.priority, each.due_at) == ("q", 3, 150.0) for each in recorded.ready)
    return [compact.decode(each.wire, each.queue, each.priority, 1 << 20) for each in recorded.ready]


def test_what_becomes_ready_in_another_database_is_told_apart_from_its_copies() -> None:
    record = stamped(lambda changes, transaction: Recorded([sealed("a"), sealed("b")]))
    first, second = copies(record), copies(record)
    assert len({message.headers[COPY] for message in first + second}) == 4
    for message in first:
        headers = {name: text for name, text in message.headers.items() if name != COPY}
        assert (message.body, headers) == (b"body", {FLOW: "F", "mine": "kept"})


def test_a_refusal_stays_one_and_what_is_no_message_passes() -> None:
    assert stamped(lambda changes, transaction: None)([], None) is None
    broken = Sealed("q", 0, b"\xc1")
    assert stamped(lambda changes, transaction: Recorded([broken]))([], None) == Recorded([broken])
