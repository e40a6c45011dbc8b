"""A name may have several addresses, all of them silent: one deadline is for all of them, and each has its turn."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.database.dial import reach
from taskbus.errors import PublishFailed
from taskbus.testing.transport_basis import send
from tests.servers.proxy_parts import is_connected

NAME = "many.test"
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
URLS = (
    "redis://u:p@{place}/0",
    "sentinel://u:p@{place}/main/0",
    "redis+cluster://u:p@{place}",
    "amqp://u:p@{place}/",
    "mysql://u:p@{place}/db",
    "postgresql://u:p@{place}/db",
)


def free_port() -> int:
    """One that is free at each of the addresses."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            port = 0
            for address in ADDRESSES:
                found = stack.enter_context(socket.create_server((address, port)))
                port = int(found.getsockname()[1])
            return port


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where nobody listens yet, at any of the addresses that ``NAME`` has."""
    port, look_up = free_port(), socket.getaddrinfo

    def many(host: str, *args: object, **more: object) -> list[object]:
        names = ADDRESSES if host == NAME else (host,)
        return [found for name in names for found in look_up(name, *args, **more)]  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", many)
    return port


@contextlib.contextmanager
def silent(port: int, *addresses: str, accepts: bool) -> Iterator[None]:
    """Hosts that say nothing; whose kernel, unless it ``accepts``, does not even answer. Source: listen(2)."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            stack.enter_context(socket.create_server((address, port), backlog=128 if accepts else 0))
            fillers: list[socket.socket] = []
            while not accepts and (not fillers or is_connected(fillers[-1])):
                fillers.append(stack.enter_context(socket.socket()))
                fillers[-1].setblocking(False)
                fillers[-1].connect_ex((address, port))
        yield


@pytest.mark.parametrize("accepts", [False, True], ids=["unanswered", "accepted"])
@pytest.mark.parametrize("url", URLS, ids=[url.partition(":")[0] for url in URLS])
def test_a_publish_ends_in_time_however_many_addresses_are_silent(url: str, accepts: bool, port: int) -> None:
    refused = Broker(url.format(place=f"127.0.0.1:{port}"), publish_timeout=1.0)
    with pytest.raises(PublishFailed):
        send(refused, "refused")  # what is imported once is imported now
    broker = Broker(url.format(place=f"{NAME}:{port}"), publish_timeout=1.0)
    with silent(port, *ADDRESSES, accepts=accepts):
        started = time.monotonic()
        with pytest.raises(PublishFailed):
            send(broker, "silent")
        assert time.monotonic() - started < 1.6
    refused.close()
    broker.close()


def test_each_address_has_its_turn_and_the_last_all_that_is_left(port: int) -> None:
    with silent(port, *ADDRESSES[:3], accepts=False), socket.create_server((ADDRESSES[3], port)):
        started = time.monotonic()
        with reach(NAME, port, started + 2.0) as connection:
            assert connection.getpeername() == (ADDRESSES[3], port)
        assert 1.4 < time.monotonic() - started < 2.0
    with silent(port, *ADDRESSES, accepts=False):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            reach(NAME, port, started + 0.5)
        assert 0.45 < time.monotonic() - started < 0.9


def test_an_address_that_refuses_costs_the_others_nothing(port: int) -> None:
    with socket.create_server((ADDRESSES[1], port)):
        started = time.monotonic()
        reach(NAME, port, started + 4.0).close()
        assert time.monotonic() - started < 0.9
    with pytest.raises(ConnectionRefusedError):
        reach(NAME, port, time.monotonic() + 4.0)
    with pytest.raises(TimeoutError):
        reach(NAME, port, time.monotonic() - 0.1)


def test_nobody_is_reached_by_a_socket_connected_to_itself(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unlucky(socket.socket):
        """One that the kernel gave the very port that it is to connect to."""

        def connect(self, address: tuple[str, int]) -> None:
            self.bind(address)
            super().connect(address)
            assert self.getsockname() == self.getpeername()

    monkeypatch.setattr(socket, "socket", Unlucky)
    with pytest.raises(ConnectionRefusedError):
        reach(ADDRESSES[0], port, time.monotonic() + 1.0)
