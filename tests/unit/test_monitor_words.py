"""What is told of tasks, in the words of Celery's tools; and the orders that stand for tasks to come."""

from typing import Any

import pytest

from taskbus.broker.delivery import Delivery
from taskbus.codec import encode_call
from taskbus.message import Message
from taskbus.monitor import events
from taskbus.monitor.naming import node_name
from taskbus.monitor.wording import LONGEST, call_of, texts_of
from taskbus.outcome import Dead, Failure, Reason, Released, Revoked, Succeeded
from taskbus.worker.admission import Admitted
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Held
from taskbus.worker.standing import Standing, per_second
from taskbus.worker.telemetry import Telemetry


def message(task_id: str = "1", task: str = "shop.add", *args: Any, **more: Any) -> Message:
    return Message(task_id, task, encode_call(args, {}), **more)


def held(task_id: str = "1", task: str = "shop.add", **more: Any) -> Held:
    return Held(Delivery(1, "default", b"", "", 0, 1), message(task_id, task, **more), TaskSpec())


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("10/s", 10.0), ("30/m", 0.5), ("36/h", 0.01), ("5", 5.0), (2, 2.0), ("0", 0.0), (None, 0.0), ("", 0.0)],
)
def test_rates_are_read_as_celery_does(rate: Any, expected: float) -> None:
    assert per_second(rate) == pytest.approx(expected)


@pytest.mark.parametrize("rate", ["often", "1/day"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ValueError):
        per_second(rate)


def test_a_limited_task_waits_for_its_turn_and_the_rest_goes_back() -> None:
    standing = Standing()
    standing.limit("shop.add", "2/s", now=0.0)
    admitted = standing.screen(Admitted(to_run=[held(str(number)) for number in range(10)]), now=0.0)
    assert admitted.to_run == [] and len(standing.kept()) == 4, "two seconds of work are kept"
    delays = [each.outcome.delay for each in admitted.ended if isinstance(each.outcome, Released)]
    assert len(delays) == 6 and min(delays) >= 0.9 and max(delays) <= 60.0
    started = [len(standing.due(now)) for now in (0.0, 0.1, 0.5, 0.6, 1.0)]
    assert started == [1, 0, 1, 0, 1]
    standing.limit("shop.add", "0", now=1.0)
    assert len(standing.due(1.0)) == 1, "without a limit nothing waits"


def test_revoked_tasks_end_when_they_come_by_id_or_by_header() -> None:
    standing = Standing()
    standing.revoke(["2"])
    standing.revoke_stamped({"customer": ["42"]})
    arrived = [
        held("1"),
        held("2"),
        held("3", headers={"customer": "42"}),
        held("4", headers={"customer": '["42", "7"]'}),
    ]
    admitted = standing.screen(Admitted(to_run=arrived), now=0.0)
    assert [each.message.id for each in admitted.to_run if each.message] == ["1"]
    assert all(isinstance(each.outcome, Revoked) for each in admitted.ended) and len(admitted.ended) == 3


def test_long_arguments_are_cut_and_unreadable_ones_said_to_be() -> None:
    args, _ = texts_of(message("1", "t", "x" * 5000))
    assert len(args) == LONGEST and args.endswith("...")
    assert "cannot be read" in call_of(Message("1", "t", b"\xc1"))[0][0]


def test_a_refused_task_is_told_as_rejected_and_as_failed() -> None:
    refused = Dead(Reason.REJECTED, Failure("taskbus.errors.Reject", "no"))
    assert [event["type"] for event in events.ended("1", refused, 1.0, 0.1)] == ["task-rejected", "task-failed"]


def test_exceptions_begin_with_the_name_of_their_class() -> None:
    (event,) = events.ended("1", Dead(Reason.NOT_RETRYABLE, Failure("shop.errors.Broken", "a 'b'")), 1.0, 0.1)
    assert event["exception"] == "Broken(\"a 'b'\")"


def test_tasks_over_the_rate_are_counted_not_told() -> None:
    telemetry = Telemetry(3, is_on=True)
    arrived = [held(str(number)) for number in range(10)]
    telemetry.received(arrived)
    assert telemetry.dropped == 7
    assert [event["uuid"] for event in telemetry.take()] == ["0", "1", "2"]


def test_nodes_are_named_as_celerys_tools_want() -> None:
    assert node_name("web@host") == "web@host"
    assert node_name("web").startswith("web@") and node_name("").startswith("taskbus-")
    assert events.ended("1", Succeeded(b"\x01"), 1.0, 0.1)[0]["result"] == "1"
