"""A node that is silent leaves time for the others of its cluster."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from taskbus.broker.transports.amqp import address, frames
from taskbus.broker.transports.amqp.line import Line
from taskbus.errors import BrokerError


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A host that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    with listening() as server:
        yield server.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """A host whose kernel does not even answer."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(server.getsockname())
        yield server.getsockname()[1]


def greet(server: socket.socket) -> None:
    """Answer the handshake of one client as RabbitMQ does, without listening to what it says."""
    server.settimeout(3)
    try:
        client, _ = server.accept()
    except OSError:
        return  # nobody came
    with client:
        client.sendall(
            frames.method(0, frames.CONNECTION_START, 0, 9, {"product": "RabbitMQ"}, "PLAIN", "en_US")
            + frames.method(0, frames.CONNECTION_TUNE, 2047, 131072, 60)
            + frames.method(0, frames.CONNECTION_OPEN_OK, "")
        )
        while client.recv(4096):
            pass


@pytest.fixture
def good() -> Iterator[int]:
    with listening() as server:
        thread = threading.Thread(target=greet, args=[server], daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize("kind", ["silent", "full"])
def test_a_silent_host_leaves_time_for_the_next(kind: str, good: int, request: pytest.FixtureRequest) -> None:
    port = request.getfixturevalue(kind)
    line = Line(address.read(f"amqp://127.0.0.1:{port},127.0.0.1:{good}/"))
    started = time.monotonic()
    wire = line.wire(started + 1.0)
    assert wire.server["product"] == "RabbitMQ"
    assert time.monotonic() - started < 0.9
    wire.abandon()


def test_hosts_that_are_all_silent_take_no_longer_than_one(silent: int, full: int) -> None:
    line = Line(address.read(f"amqp://127.0.0.1:{full},127.0.0.1:{silent}/"))
    started = time.monotonic()
    with pytest.raises(BrokerError, match="cannot reach"):
        line.wire(started + 0.6)
    assert time.monotonic() - started < 0.9
