"""Each outcome of an attempt becomes exactly what is promised of it."""

from typing import Any

import msgpack
import pytest

from taskbus.broker.delivery import Act, Delivery
from taskbus.config import Config
from taskbus.message import COPY, FLOW, Message
from taskbus.outcome import (
    Crashed,
    Dead,
    Failure,
    Outcome,
    Reason,
    Released,
    Replaced,
    Retrying,
    Revoked,
    State,
    Succeeded,
)
from taskbus.store.base import Bury, ForgetAttempts, SaveAttempt, SaveResult
from taskbus.store.flows import EndNode, Flow, Node, NodeState, Policy, ReplaceNode, When
from taskbus.wire import compact
from taskbus.worker.options import TaskSpec
from taskbus.worker.runner.protocol import Report, pack, pack_report, unpack_report
from taskbus.worker.settlement import CRASHES_IN_COMPANY, HELD_SINCE, Ended, Held, brings_more, hold, settlement

MESSAGE = Message("0198-id", "app.add", b"body", queue="q", priority=3, sent_at=100.0)
BOOM = Failure("builtins.ValueError", "boom", "Traceback ...")


def held(message: Message | None = MESSAGE, *, crashes: int = 0, is_acked: bool = False, store: bool = True) -> Held:
    wire = compact.encode(message) if message else b"\xc1 not ours"
    delivery = Delivery(7, "q", wire, compact.CONTENT_TYPE, 3, fence=2, crashes=crashes)
    return Held(delivery, message, TaskSpec(store_results=store, result_ttl=60.0), is_acked=is_acked)


def settle(outcome: Outcome, of: Held, *, started_at: float = 110.0):
    return settlement(Ended(of, outcome, started_at, 0.5), "host:1", 120.0, Config())


def test_success_acks_and_saves_the_result() -> None:
    settled = settle(Succeeded(b"\x05"), held())
    assert (settled.act, settled.delivery.tag, settled.follow_ups) == (Act.ACK, 7, ())
    (saved,) = settled.changes
    assert isinstance(saved, SaveResult)
    assert (saved.ttl, saved.result.state, saved.result.value) == (60.0, State.SUCCESS, b"\x05")
    assert (saved.result.started_at, saved.result.finished_at) == (110.0, 110.5)


def test_success_without_a_result_only_acks() -> None:
    settled = settle(Succeeded(None), held(store=False))
    assert (settled.act, list(settled.changes)) == (Act.ACK, [])


def test_success_after_a_retry_forgets_the_failed_attempts() -> None:
    settled = settle(Succeeded(b"\x05"), held(MESSAGE._replace(attempt=2)))
    assert settled.changes[-1] == ForgetAttempts(MESSAGE.id)


def test_a_retry_sends_the_same_bytes_with_the_next_attempt_and_remembers_the_failure() -> None:
    settled = settle(Retrying(4.0, BOOM), held())
    (again,) = settled.follow_ups
    assert again == MESSAGE._replace(attempt=2, due_at=124.0)
    assert settled.act is Act.ACK
    attempt, result = settled.changes
    assert isinstance(attempt, SaveAttempt) and isinstance(result, SaveResult)
    assert (attempt.attempt.attempt, attempt.attempt.worker, attempt.attempt.failure) == (1, "host:1", BOOM)
    assert result.result.state is State.RETRY


def test_a_dead_message_is_buried_with_its_bytes_and_its_result_is_a_failure() -> None:
    of = held(MESSAGE._replace(attempt=4))
    settled = settle(Dead(Reason.RETRIES_EXHAUSTED, BOOM), of)
    attempt, bury, result = settled.changes
    assert isinstance(attempt, SaveAttempt) and isinstance(bury, Bury) and isinstance(result, SaveResult)
    assert (bury.letter.wire, bury.letter.reason, bury.letter.dead_at) == (of.delivery.wire, "retries_exhausted", 120.0)
    assert (bury.letter.attempt, bury.letter.priority, bury.letter.queue) == (4, 3, "q")
    assert result.result.state is State.FAILURE


def test_an_expired_message_is_buried_and_its_result_says_revoked() -> None:
    settled = settle(Dead(Reason.EXPIRED, BOOM), held(), started_at=0.0)
    bury, result = settled.changes
    assert isinstance(bury, Bury) and isinstance(result, SaveResult)
    assert result.result.state is State.REVOKED


def test_bytes_that_are_no_message_are_buried_under_a_name_of_their_own() -> None:
    of = held(None)
    settled = settle(Dead(Reason.UNDECODABLE, BOOM), of, started_at=0.0)
    (bury,) = settled.changes
    assert isinstance(bury, Bury)
    assert bury.letter.task_id.startswith("raw-") and bury.letter.wire == of.delivery.wire


def test_a_crash_gives_the_message_back_and_counts() -> None:
    settled = settle(Crashed("signal 11 (SIGSEGV)"), held(crashes=1))
    assert (settled.act, list(settled.changes)) == (Act.CRASH, [])


def test_the_third_crash_buries_the_message_as_poison() -> None:
    settled = settle(Crashed("signal 11 (SIGSEGV)"), held(crashes=2))
    letter = next(change.letter for change in settled.changes if isinstance(change, Bury))
    assert (settled.act, letter.reason) == (Act.ACK, Reason.POISON)
    assert "3 times" in letter.failure.message and "SIGSEGV" in letter.failure.message


def test_a_crash_beside_others_is_not_counted_but_makes_a_suspect() -> None:
    settled = settle(Crashed("signal 9 (SIGKILL)", is_alone=False), held())
    (again,) = settled.follow_ups
    assert (settled.act, list(settled.changes)) == (Act.ACK, [])
    assert again.headers[CRASHES_IN_COMPANY] == "1" and again.body == MESSAGE.body and again.attempt == 1
    assert held(again).is_suspect and not held().is_suspect and held(crashes=1).is_suspect


def test_a_suspect_that_only_fails_is_none_any_more() -> None:
    suspect = MESSAGE._replace(headers={CRASHES_IN_COMPANY: "1", "mine": "kept"})
    (again,) = settle(Retrying(1.0, BOOM), held(suspect)).follow_ups
    assert again.headers == {"mine": "kept"}


def test_crashes_beside_others_have_an_end_too() -> None:
    suspect = MESSAGE._replace(headers={CRASHES_IN_COMPANY: str(Config().max_losses - 1)})
    settled = settle(Crashed("signal 9 (SIGKILL)", is_alone=False), held(suspect))
    assert any(isinstance(change, Bury) for change in settled.changes)


def test_a_crash_of_an_at_most_once_task_is_its_end() -> None:
    settled = settle(Crashed("signal 9 (SIGKILL)"), held(is_acked=True))
    assert settled.delivery is None
    assert any(isinstance(change, Bury) for change in settled.changes)


def test_a_released_delivery_goes_back_uncounted() -> None:
    settled = settle(Released(1.5), held())
    assert (settled.act, settled.delay, list(settled.changes)) == (Act.RELEASE, 1.5, [])


def test_a_released_at_most_once_message_that_did_not_run_is_sent_again() -> None:
    settled = settle(Released(), held(is_acked=True))
    assert settled.delivery is None and settled.follow_ups == (MESSAGE,)


def test_a_message_of_an_unknown_task_remembers_since_when_it_waits() -> None:
    first = hold(held(), 120.0, 5.0).follow_ups[0]
    assert (first.headers[HELD_SINCE], first.due_at, first.body) == ("120.0", 125.0, MESSAGE.body)
    second = hold(held(first), 125.0, 5.0).follow_ups[0]
    assert (second.headers[HELD_SINCE], second.due_at) == ("120.0", 130.0)


def test_what_cannot_be_read_cannot_be_held() -> None:
    with pytest.raises(ValueError, match="readable"):
        hold(held(None), 120.0, 5.0)


# --- in a flow -------------------------------------------------------------------------------------------------------

IN_FLOW = MESSAGE._replace(headers={FLOW: "F", COPY: "c"})


def test_success_tells_the_flow_last_and_gives_it_the_value_though_results_are_off() -> None:
    saved, end = settle(Succeeded(b"\x05", "json"), held(IN_FLOW)).changes
    assert isinstance(saved, SaveResult)
    assert end == EndNode("F", MESSAGE.id, NodeState.SUCCESS, 120.0, b"\x05", "json")
    assert list(settle(Succeeded(b"\x05", "json"), held(IN_FLOW, store=False)).changes) == [end]
    forgotten, end = settle(Succeeded(b"\x05"), held(IN_FLOW._replace(attempt=2), store=False)).changes
    assert (forgotten, type(end)) == (ForgetAttempts(MESSAGE.id), EndNode)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Dead(Reason.RETRIES_EXHAUSTED, BOOM), NodeState.FAILURE),
        (Dead(Reason.UNKNOWN_TASK, BOOM), NodeState.FAILURE),
        (Dead(Reason.EXPIRED, BOOM), NodeState.REVOKED),
    ],
)
def test_a_dead_letter_of_a_flow_ends_its_node(outcome: Dead, state: NodeState) -> None:
    changes = settle(outcome, held(IN_FLOW)).changes
    assert changes[-1] == EndNode("F", MESSAGE.id, state, 120.0, failure=BOOM)
    assert sum(isinstance(change, Bury) for change in changes) == 1


def test_a_retry_of_a_flows_task_ends_nothing_and_keeps_its_headers() -> None:
    settled = settle(Retrying(4.0, BOOM), held(IN_FLOW))
    (again,) = settled.follow_ups
    assert again.headers == IN_FLOW.headers
    assert not any(isinstance(change, EndNode) for change in settled.changes)


def test_whatever_sends_a_message_of_a_flow_again_keeps_its_headers() -> None:
    suspect = settle(Crashed("signal 9 (SIGKILL)", is_alone=False), held(IN_FLOW)).follow_ups[0]
    waiting = hold(held(IN_FLOW), 120.0, 5.0).follow_ups[0]
    released = settle(Released(), held(IN_FLOW, is_acked=True)).follow_ups[0]
    for message in (suspect, waiting, released):
        assert (message.headers[FLOW], message.headers[COPY]) == ("F", "c")


def test_a_task_that_was_called_off_is_revoked_and_no_dead_letter() -> None:
    saved, end = settle(Revoked(BOOM), held(IN_FLOW), started_at=0.0).changes
    assert isinstance(saved, SaveResult) and saved.result.state is State.REVOKED
    assert end == EndNode("F", MESSAGE.id, NodeState.REVOKED, 120.0, failure=BOOM)
    assert list(settle(Revoked(BOOM), held(IN_FLOW, store=False)).changes) == [end]


def test_a_replaced_task_saves_no_result_and_is_replaced_as_it_was_said() -> None:
    flow = Flow("F", "", MESSAGE.id, 100.0, 60.0)
    nodes = [
        Node("n", "app.add", wire=b"wire", queue="q"),
        Node("j", size=1, policy=Policy.COLLECT),
        Node(MESSAGE.id, "app.sum", after="j", when=When.ALWAYS, wire=b"wire"),
    ]
    report = Report(1, Replaced(tuple(flow), [tuple(node) for node in nodes]), 110.0, 0.5)
    (frame,) = unpacked(pack("done", [pack_report(report)]))
    outcome = unpack_report(frame[1][0]).outcome
    settled = settle(outcome, held(MESSAGE._replace(attempt=2)))
    assert (settled.act, list(settled.follow_ups)) == (Act.ACK, [])
    forgotten, change = settled.changes
    assert forgotten == ForgetAttempts(MESSAGE.id)
    assert change == ReplaceNode(flow, nodes)
    assert [type(node.when) for node in change.nodes] == [When] * 3
    assert [type(node.policy) for node in change.nodes] == [Policy] * 3


def unpacked(frame: bytes) -> list[list[Any]]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(frame)
    return list(unpacker)


def test_a_crash_ends_an_at_most_once_task_of_a_flow_though_it_is_not_off_its_queue() -> None:
    for is_alone in (True, False):
        of = held(IN_FLOW)
        of.spec = TaskSpec(at_most_once=True)
        settled = settle(Crashed("signal 9 (SIGKILL)", is_alone=is_alone), of)
        assert settled.delivery is of.delivery and settled.act is Act.ACK
        assert isinstance(settled.changes[-1], EndNode)
        assert settled.changes[-1].state is NodeState.FAILURE


def test_what_may_make_something_ready_is_known() -> None:
    plain, member = held(), held(IN_FLOW)
    more = [settle(Retrying(1.0, BOOM), plain), settle(Released(), plain), settle(Succeeded(b"\x05"), member)]
    assert all(map(brings_more, [*more, settle(Dead(Reason.REJECTED, BOOM), member)]))
    none = [
        settle(Succeeded(b"\x05"), plain),
        settle(Succeeded(None), plain),
        settle(Dead(Reason.REJECTED, BOOM), plain),
    ]
    assert not any(map(brings_more, none))
