"""A queue that refuses on one channel may take the same on another: what RabbitMQ does when a leader has died."""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.transports.amqp import address, frames
from taskbus.broker.transports.amqp.letters import Letter
from taskbus.broker.transports.amqp.line import Line
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.broker.transports.amqp.publisher import Publisher
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.errors import PublishFailed

ANSWERS = {
    frames.CHANNEL_OPEN.id: (frames.CHANNEL_OPEN_OK, ""),
    frames.CHANNEL_CLOSE.id: (frames.CHANNEL_CLOSE_OK,),
    frames.CONFIRM_SELECT.id: (frames.CONFIRM_SELECT_OK,),
}
Takes = Callable[[int, str], bool]
"""Whether a message is taken: by how many channels were opened before its own, and its routing key."""


class Broker:
    """Answers one client as RabbitMQ does; ``opened`` and ``closed`` count its channels."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.opened = self.closed = 0
        self._ages: dict[int, int] = {}
        self._sent: Counter[int] = Counter()

    def serve(self, server: socket.socket) -> None:
        server.settimeout(3)
        client, _ = server.accept()
        with client, contextlib.suppress(ConnectionError):
            client.sendall(
                frames.method(0, frames.CONNECTION_START, 0, 9, {"product": "RabbitMQ"}, "PLAIN", "en_US")
                + frames.method(0, frames.CONNECTION_TUNE, 2047, 131072, 0)
                + frames.method(0, frames.CONNECTION_OPEN_OK, "")
            )
            stream = client.makefile("rb")
            stream.read(8)
            while head := stream.read(7):
                kind, channel, size = struct.unpack(">BHI", head)
                payload = stream.read(size + 1)
                if kind == frames.METHOD and channel:
                    client.sendall(self._answer(channel, struct.unpack_from(">I", payload)[0], payload[4:-1]))

    def _answer(self, channel: int, id: int, packed: bytes) -> bytes:
        if id == frames.BASIC_PUBLISH.id:
            self._sent[channel] += 1
            key = frames.arguments(id, packed)[2]
            taken = self.takes(self._ages[channel], key)
            said = (frames.BASIC_ACK, self._sent[channel], False) if taken else _nack(self._sent[channel])
            return frames.method(channel, *said)
        if id == frames.CHANNEL_OPEN.id:
            self._ages[channel], self._sent[channel] = self.opened, 0
            self.opened += 1
        self.closed += id == frames.CHANNEL_CLOSE.id
        return frames.method(channel, *ANSWERS[id])


def _nack(number: int) -> tuple[frames.Method, int, bool, bool]:
    return frames.BASIC_NACK, number, False, False


@contextlib.contextmanager
def publishing(broker: Broker) -> Iterator[Publisher]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=broker.serve, args=[server], daemon=True)
        thread.start()
        where = address.read(f"amqp://127.0.0.1:{server.getsockname()[1]}/")
        line = Line(where)
        yield Publisher(line, Topology(line, Naming(where)))
        line.abandon()
        thread.join(5)


def letters(*keys: str) -> list[Letter]:
    return [Letter("", key, b"\x00\x00", key.encode()) for key in keys]


def test_what_a_queue_refuses_on_a_channel_is_sent_on_another() -> None:
    broker = Broker(lambda age, key: age > 0 or key != "led by the dead")
    with publishing(broker) as publisher:
        publisher.publish(letters("led by the dead", "another"), time.monotonic() + 3)
        assert publisher.unaccepted == set()
        publisher.publish(letters("led by the dead"), time.monotonic() + 3)
    assert (broker.opened, broker.closed) == (2, 1)


def test_a_queue_that_goes_on_refusing_is_asked_ever_more_rarely_and_leaves_no_channels_open() -> None:
    broker = Broker(lambda age, key: not key)
    with publishing(broker) as publisher:
        started = time.monotonic()
        with pytest.raises(PublishFailed, match="its queue did not take it"):
            publisher.publish(letters("full"), started + 1.5)
        assert time.monotonic() - started < 1.5
    assert 3 <= broker.opened <= 6
    assert broker.closed == broker.opened - 1
