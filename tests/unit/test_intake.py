"""The first look at a delivery: nothing is dropped, whatever the bytes are."""

import time

from hypothesis import given
from hypothesis import strategies as st

from taskbus.broker.delivery import Delivery, Settlement
from taskbus.config import Config
from taskbus.message import Message
from taskbus.outcome import Dead, Reason
from taskbus.wire import compact
from taskbus.worker.intake import Intake
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import HELD_SINCE, Ended, Held

KNOWN = {"app.add": TaskSpec(time_limit=5.0)}
MESSAGE = Message("0198-id", "app.add", b"body", queue="q", sent_at=100.0)


def look(
    wire: bytes, *, content_type: str = compact.CONTENT_TYPE, now: float = 120.0, grace: float = 60.0, **counts: int
):
    intake = Intake(KNOWN, Config(unknown_task_grace=grace, max_message_bytes=4096))
    return intake.look(Delivery(1, "q", wire, content_type, 0, 1, **counts), now)


def reason(looked: object) -> Reason:
    assert isinstance(looked, Ended) and isinstance(looked.outcome, Dead), looked
    return looked.outcome.reason


def test_a_known_task_is_to_be_run() -> None:
    looked = look(compact.encode(MESSAGE))
    assert isinstance(looked, Held)
    assert (looked.message, looked.spec) == (MESSAGE, KNOWN["app.add"])


@given(st.binary(max_size=200))
def test_any_bytes_become_a_run_or_a_dead_letter(wire: bytes) -> None:
    looked = look(wire)
    assert isinstance(looked, Held | Ended | Settlement)


def test_a_foreign_content_type_is_undecodable() -> None:
    assert reason(look(b"{}", content_type="application/json")) is Reason.UNDECODABLE


def test_an_oversize_message_is_refused_before_it_is_read() -> None:
    assert reason(look(compact.encode(MESSAGE._replace(body=b"x" * 5000)))) is Reason.TOO_LARGE


def test_an_expired_message_does_not_run() -> None:
    wire = compact.encode(MESSAGE._replace(expires_at=119.0))
    assert reason(look(wire, now=120.0)) is Reason.EXPIRED
    assert isinstance(look(wire, now=118.9), Held)


def test_what_is_left_until_the_expiry_is_counted_by_a_clock_that_does_not_jump() -> None:
    before = time.monotonic()
    held = look(compact.encode(MESSAGE._replace(expires_at=150.0)), now=120.0)
    assert isinstance(held, Held) and held.start_by is not None
    assert before + 30 <= held.start_by <= time.monotonic() + 30


def test_a_message_that_killed_three_runners_is_poison() -> None:
    assert reason(look(compact.encode(MESSAGE), crashes=3)) is Reason.POISON
    assert isinstance(look(compact.encode(MESSAGE), crashes=2), Held)


def test_a_message_lost_with_ten_workers_is_poison() -> None:
    assert reason(look(compact.encode(MESSAGE), losses=10)) is Reason.POISON
    assert isinstance(look(compact.encode(MESSAGE), losses=9), Held)


def test_an_unknown_task_waits_for_its_grace_and_is_then_buried() -> None:
    stranger = MESSAGE._replace(task="app.subtract")
    looked = look(compact.encode(stranger))
    assert isinstance(looked, Settlement)
    (waiting,) = looked.follow_ups
    assert waiting.due_at == 125.0
    later = waiting._replace(headers={HELD_SINCE: "60.0"})
    buried = look(compact.encode(later), now=120.0)
    assert reason(buried) is Reason.UNKNOWN_TASK
    assert "app.subtract" in buried.outcome.failure.message and "app.add" in buried.outcome.failure.message


def test_without_grace_an_unknown_task_is_buried_at_once() -> None:
    assert reason(look(compact.encode(MESSAGE._replace(task="nope")), grace=0.0)) is Reason.UNKNOWN_TASK
