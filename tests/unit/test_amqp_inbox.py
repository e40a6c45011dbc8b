"""A channel remembers no more than what it holds, and acks as much as it can by one frame."""

import time
from typing import cast

import pytest

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.inbox import Flow, Inbox, Subscription
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.broker.transports.amqp.wire import Wire


class DeafWire:
    """Takes everything down, and answers what it was told to."""

    failure = None

    def __init__(self) -> None:
        self.posted: list[bytes] = []

    def enroll(self, listener: frames.Listener) -> int:
        self.listener = listener
        return 1

    def post(self, data: bytes) -> None:
        self.posted.append(data)

    def flush(self, until: float) -> None:
        """Everything is sent at once."""


class EveryName:
    def queue(self, name: str, level: str) -> str:
        return name + level


@pytest.fixture
def wire() -> DeafWire:
    return DeafWire()


@pytest.fixture
def inbox(wire: DeafWire) -> Inbox:
    inbox = Inbox(cast("Wire", wire), 1)
    inbox._all[b"1"] = inbox.flows[b"1"] = Flow(Subscription("default", "", 10))
    inbox._tags = 1
    wire.posted.clear()
    return inbox


def arrive(inbox: Inbox, *numbers: int) -> None:
    for number in numbers:
        inbox.on_delivery(b"1", number, False, b"\x00\x00", b"", b"")
    inbox.fresh.clear()


def ack(number: int, *, is_multiple: bool) -> bytes:
    return frames.method(1, frames.BASIC_ACK, number, is_multiple)


def test_acks_travel_as_one_up_to_the_oldest_that_is_held(inbox: Inbox, wire: DeafWire) -> None:
    arrive(inbox, 1, 2, 3, 4, 5, 6)
    inbox.ack([2, 5])
    inbox.ack([1, 3, 6])
    inbox.ack([4])
    assert wire.posted == [
        ack(2, is_multiple=False), ack(5, is_multiple=False),
        ack(3, is_multiple=True), ack(6, is_multiple=False),
        ack(4, is_multiple=True),
    ]  # fmt: skip


def test_an_announcement_which_needs_no_ack_does_not_stand_in_the_way(inbox: Inbox, wire: DeafWire) -> None:
    arrive(inbox, 1)
    inbox.on_delivery(b"news", 2, False, b"\x00\x01q", b"", b"~3")
    arrive(inbox, 3)
    inbox.ack([1, 3])
    assert wire.posted == [ack(3, is_multiple=True)]


def test_what_was_fetched_singly_is_held_like_what_was_pushed(inbox: Inbox, wire: DeafWire) -> None:
    inbox.on_content(
        frames.BASIC_GET_OK.id, frames.method(1, frames.BASIC_GET_OK, 1, False, "", "q", 0)[11:-1], b"", b""
    )
    arrive(inbox, 2)
    inbox.ack([2])
    assert wire.posted == [ack(2, is_multiple=False)]


def test_a_long_task_at_the_head_costs_no_memory_for_those_that_pass_it(inbox: Inbox) -> None:
    for number in range(1, 2001):
        arrive(inbox, number)
        if number > 1:
            inbox.ack([number])
    remembered = [each for each in vars(inbox).values() if isinstance(each, (set, dict, list))]
    assert max(map(len, remembered)) == 1


def test_a_cancelled_subscription_is_forgotten_once_the_broker_has_confirmed_it(inbox: Inbox, wire: DeafWire) -> None:
    until = time.monotonic() + 1
    for number in range(50):
        inbox.answers.extend([(frames.BASIC_QOS_OK.id, ()), (frames.BASIC_CONSUME_OK.id, ()), (0, ())])
        inbox.subscribe([Subscription("default", "", number + 20)], cast("Naming", EveryName()), until)
        inbox.answers.clear()
    assert len(inbox._all) == 1
    (tag,) = inbox.flows
    inbox.on_method(frames.BASIC_CANCEL.id, frames.method(1, frames.BASIC_CANCEL, tag.decode(), True)[11:-1])
    assert not inbox._all
    assert not inbox.flows


def subscribed(inbox: Inbox, prefetch: int) -> list[Subscription]:
    inbox.answers.extend([(0, ())] * 9)
    inbox.subscribe([Subscription("default", "", prefetch)], cast("Naming", EveryName()), time.monotonic() + 1)
    inbox.answers.clear()
    return [flow.subscription for flow in inbox.flows.values()]


def test_a_subscription_that_holds_messages_is_not_cancelled_for_a_larger_one(inbox: Inbox, wire: DeafWire) -> None:
    arrive(inbox, 1)
    assert subscribed(inbox, 12) == [Subscription("default", "", 10), Subscription("default", "", 2)]
    assert subscribed(inbox, 12) == [Subscription("default", "", 10), Subscription("default", "", 2)]
    assert subscribed(inbox, 15) == [Subscription("default", "", 10), Subscription("default", "", 5)]
    inbox.ack([1])
    assert subscribed(inbox, 15) == [Subscription("default", "", 10), Subscription("default", "", 5)]
    assert subscribed(inbox, 16) == [Subscription("default", "", 16)]
    assert len(inbox._all) == 1


def test_subscriptions_that_hold_nothing_are_merged_and_no_others(inbox: Inbox, wire: DeafWire) -> None:
    assert inbox.split() == []
    arrive(inbox, 1)
    assert len(subscribed(inbox, 12)) == 2
    assert inbox.split() == []
    inbox.ack([1])
    assert inbox.split() == [b"1", b"2"]
    inbox.answers.extend([(0, ())] * 9)
    inbox.merge([Subscription("default", "", 12)], cast("Naming", EveryName()), time.monotonic() + 1)
    assert [flow.subscription for flow in inbox.flows.values()] == [Subscription("default", "", 12)]
    assert len(inbox._all) == 1
    assert inbox.split() == []
