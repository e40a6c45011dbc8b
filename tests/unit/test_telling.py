"""What a worker logs of a task that failed: its error in a line, and none of the secrets in it."""

import json
import logging

import pytest

from taskbus import codec
from taskbus.broker.delivery import Delivery
from taskbus.logs import AttemptFilter, JsonFormatter, TextFormatter
from taskbus.message import Message
from taskbus.outcome import Crashed, Dead, Failure, Reason, Retrying
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Ended, Held
from taskbus.worker.telling import Teller

DELIVERY = Delivery(tag=1, queue="mail", wire=b"", content_type="", priority=0, fence=1)
REFUSED = Failure("shop.Refused", "refused hunter2secret of B-AD 1234 for bob")
KINDS = [
    lambda failure: Retrying(1.0, failure),
    lambda failure: Dead(Reason.REJECTED, failure),
]


def said(caplog: pytest.LogCaptureFixture, outcome: object, message: Message | None = None) -> str:
    message = message or Message("id", "shop.pay", b"", queue="mail", attempt=3)
    spec = TaskSpec(parameters=("plate", "name"))
    with caplog.at_level(logging.INFO, "taskbus.worker.telling"):
        Teller(["plate"]).tell([Ended(Held(DELIVERY, message, spec), outcome)], ())
    return caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "cannot reach postgresql://bob:hunter2@db/shop",
        "refused with password='hunter2'",
        "GET /pay?api_key=hunter2 was refused",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_secrets_in_an_error_do_not_reach_the_log(caplog, message, kind):
    line = said(caplog, kind(Failure("shop.Refused", message)))
    assert "shop.pay id" in line and "shop.Refused" in line and "***" in line
    assert "hunter2" not in line


def test_it_is_one_line_that_no_terminal_obeys(caplog):
    line = said(caplog, Dead(Reason.REJECTED, Failure("E", "first\x1b[2J\nsecond")))
    assert "first?[2J" in line and "second" not in line


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_argument_that_the_error_quotes_does_not_reach_the_log(caplog, kind):
    body = codec.encode_call(["B-AD 1234"], {"password": "hunter2secret", "name": "bob"})
    line = said(caplog, kind(REFUSED), Message("id", "shop.pay", body))
    assert "refused *** of *** for bob" in line


@pytest.mark.parametrize("outcome", [*[kind(REFUSED) for kind in KINDS], Crashed("signal 9", is_alone=True)])
def test_both_formats_say_in_fields_which_attempt_it_is(caplog, outcome):
    said(caplog, outcome)
    (record,) = caplog.records
    AttemptFilter().filter(record)
    line = json.loads(JsonFormatter().format(record))
    assert (line["task_id"], line["task"], line["attempt"], line["queue"]) == ("id", "shop.pay", 3, "mail")
    assert TextFormatter().format(record).endswith(" [shop.pay id #3]")


def test_of_what_cannot_be_read_the_queue_is_told(caplog):
    with caplog.at_level(logging.INFO, "taskbus.worker.telling"):
        Teller(()).tell([Ended(Held(DELIVERY, None, TaskSpec()), Dead(Reason.UNDECODABLE, Failure("E", "x")))], ())
    (record,) = caplog.records
    assert record.queue == "mail" and "a message on 'mail' is dead" in record.getMessage()
