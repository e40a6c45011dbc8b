"""What a worker logs of a task that failed: its error in a line, and none of the secrets in it."""

import logging

import pytest

from taskbus.broker.delivery import Delivery
from taskbus.message import Message
from taskbus.outcome import Dead, Failure, Reason, Retrying
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Ended, Held
from taskbus.worker.telling import tell


def said(caplog: pytest.LogCaptureFixture, outcome: object) -> str:
    delivery = Delivery(tag=1, queue="default", wire=b"", content_type="", priority=0, fence=1)
    with caplog.at_level(logging.INFO, "taskbus.worker.telling"):
        tell([Ended(Held(delivery, Message("id", "shop.pay", b""), TaskSpec()), outcome)], ())
    return caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "cannot reach postgresql://bob:hunter2@db/shop",
        "refused with password='hunter2'",
        "GET /pay?api_key=hunter2 was refused",
    ],
)
@pytest.mark.parametrize(
    "kind", [lambda failure: Retrying(1.0, failure), lambda failure: Dead(Reason.REJECTED, failure)]
)
def test_secrets_in_an_error_do_not_reach_the_log(caplog, message, kind):
    line = said(caplog, kind(Failure("shop.Refused", message)))
    assert "shop.pay id" in line and "shop.Refused" in line and "***" in line
    assert "hunter2" not in line


def test_it_is_one_line_that_no_terminal_obeys(caplog):
    line = said(caplog, Dead(Reason.REJECTED, Failure("E", "first\x1b[2J\nsecond")))
    assert "first?[2J" in line and "second" not in line
