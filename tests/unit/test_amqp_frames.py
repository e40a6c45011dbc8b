"""AMQP's frames come out of bytes the same however the network cuts them."""

import struct

import pytest

from taskbus.broker.transports.amqp import frames, properties
from taskbus.broker.transports.amqp.letters import Letter, returned_of
from taskbus.broker.transports.amqp.properties import Counters
from taskbus.broker.transports.envelope import Envelope, pack


class Heard:
    """A channel that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def on_method(self, id: int, arguments: bytes) -> None:
        self.said.append((id, *frames.arguments(id, arguments)))

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        self.said.append((id, *frames.arguments(id, arguments), properties, body))

    def on_delivery(
        self, consumer: bytes, tag: int, is_redelivered: bool, where: bytes, properties: bytes, body: bytes
    ) -> None:
        self.said.append((consumer, tag, is_redelivered, where, properties, body))


PLAIN = properties.plain(3)


def delivery(channel: int, tag: int, body: bytes, frame_max: int = 4096) -> list[bytes]:
    return [
        frames.method(channel, frames.BASIC_DELIVER, "7", tag, tag % 2 == 0, "", "queue"),
        frames.content_header(PLAIN)(channel, len(body)),
        *frames.bodies(channel, body, frame_max),
    ]


def expected(tag: int, body: bytes) -> tuple[object, ...]:
    return b"7", tag, tag % 2 == 0, b"\x00\x05queue", PLAIN, body


STREAM = b"".join(
    [
        *delivery(1, 1, b"first"),
        frames.method(1, frames.BASIC_QOS_OK),
        *delivery(1, 2, b""),
        frames.frame(frames.HEARTBEAT, 0, b""),
        *delivery(1, 3, bytes(200), frame_max=60),
        frames.method(1, frames.BASIC_CANCEL, "7", True),
    ]
)
SAID = [
    expected(1, b"first"),
    (frames.BASIC_QOS_OK.id,),
    expected(2, b""),
    expected(3, bytes(200)),
    (frames.BASIC_CANCEL.id, "7", True),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 20, 64, len(STREAM)])
def test_pieces_of_any_size_give_the_same_messages(size: int) -> None:
    heard = Heard()
    scanner = frames.Scanner({1: heard})
    for start in range(0, len(STREAM), size):
        scanner.feed(STREAM[start : start + size])
    assert heard.said == SAID


def test_a_stream_cut_at_any_byte_goes_on_where_it_was() -> None:
    for cut in range(len(STREAM)):
        heard = Heard()
        scanner = frames.Scanner({1: heard})
        scanner.feed(STREAM[:cut])
        scanner.feed(STREAM[cut:])
        assert heard.said == SAID, cut


def test_messages_of_two_channels_may_be_interleaved() -> None:
    one, two = Heard(), Heard()
    scanner = frames.Scanner({1: one, 2: two})
    for pair in zip(delivery(1, 1, b"a" * 50, 30), delivery(2, 9, b"b" * 50, 30), strict=True):
        scanner.feed(b"".join(pair))
    assert (one.said, two.said) == ([expected(1, b"a" * 50)], [expected(9, b"b" * 50)])


def test_what_is_no_amqp_is_refused() -> None:
    for noise in (b"HTTP/1.1 400 Bad Request\r\n", STREAM[:-1] + b"\x00", frames.frame(frames.BODY, 1, b"x")):
        with pytest.raises(frames.Malformed):
            frames.Scanner({1: Heard()}).feed(noise + bytes(200))


def test_a_body_is_cut_to_the_largest_frame() -> None:
    pieces = frames.bodies(1, bytes(1000), 108)
    assert [len(piece) for piece in pieces] == [108] * 10
    assert frames.bodies(1, b"", 108) == ()


def test_counters_travel_in_headers_that_nobody_else_sees() -> None:
    counters = Counters(crashes=1, losses=2, wait=3, due_at=1_800_000_000_000)
    label = properties.read(properties.plain(5, counters))
    assert (label.priority, label.counters, label.envelope) == (5, counters, None)
    sent = Envelope("application/json", "utf-8", {"correlation_id": "c"}, {"x-mine": "kept", "x-death": "not"}, "", "")
    label = properties.read(properties.foreign(pack(sent), 2, counters))
    assert label.counters == counters
    assert label.envelope is not None
    assert label.envelope.headers == {"x-mine": "kept"}


def test_losses_are_those_told_and_those_the_broker_counted() -> None:
    sent = Envelope("application/x-taskbus", "binary", {}, {"x-delivery-count": 4}, "", "")
    label = properties.read(properties.foreign(pack(sent), 0, Counters(losses=2)))
    assert label.counters.losses == 6


def test_letters_alike_come_back_as_many_times_as_they_were_returned() -> None:
    letters = [Letter("", "q", PLAIN, body) for body in (b"a", b"b", b"a", b"a")]
    letters.append(Letter("exchange", "q", PLAIN, b"a"))
    back = returned_of(letters, [("q", b"a"), ("q", b"a"), ("q", b"b")])
    assert [letter.body for letter in back] == [b"a", b"b", b"a"]


def test_a_header_frame_says_how_long_the_body_is() -> None:
    made = frames.content_header(PLAIN)(7, 12345)
    assert struct.unpack_from(">BHI", made) == (frames.HEADER, 7, len(made) - 8)
    assert made[11:19] == (12345).to_bytes(8, "big")
    assert made[19:-1] == PLAIN
