"""The proxy of the tests breaks what passes through it exactly where it is told to."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.servers.proxy import Proxy, Way
from tests.servers.server import free_port, until


class Upstream:
    """A server that answers each line with ``<line>!``, and keeps what came."""

    def __init__(self) -> None:
        self.came = b""
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        line = b""
        try:
            while piece := connection.recv(65536):
                self.came += piece
                *lines, line = (line + piece).split(b"\n")
                for each in lines:
                    connection.sendall(each + b"!\n")
        except OSError:
            pass
        connection.close()

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with Proxy(upstream.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        yield client


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def ask(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text + b"\n")
    return read_exactly(client, len(text) + 2)


def read_exactly(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (piece := client.recv(count - len(got))):
        got += piece
    return got


def read_to_end(client: socket.socket) -> tuple[bytes, bool]:
    """What came until the end, and whether the end was a reset."""
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        return got, True
    return got, False


def is_silent(client: socket.socket, seconds: float = 0.2) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        return not selector.select(seconds)


def test_without_a_fault_everything_passes(upstream: Upstream, client: socket.socket) -> None:
    assert ask(client, b"hello") == b"hello!\n"
    big = bytes(range(1, 10)) * 300_000
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(read_exactly(client, len(big) + 2)))
    reader.start()
    client.sendall(big + b"\n")
    reader.join(30)
    assert received == [big + b"!\n"]


def test_an_end_passes_in_both_directions(upstream: Upstream, proxy: Proxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"last\n")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == (b"last!\n", False)
    until(lambda: proxy.connections == 0, "the connection is forgotten")
    with connected(proxy) as client:
        ask(client, b"a")
        upstream.connections[-1].shutdown(socket.SHUT_RDWR)
        assert read_to_end(client) == (b"", False)


@pytest.mark.parametrize("way", Way)
def test_a_blackhole_one_way_holds_everything_back_until_it_is_healed(
    upstream: Upstream, proxy: Proxy, client: socket.socket, way: Way
) -> None:
    ask(client, b"before")
    proxy.blackhole(way)
    client.sendall(b"lost?\n")
    assert is_silent(client)
    assert (b"lost?" in upstream.came) == (way is Way.TO_CLIENT)
    proxy.heal()
    assert read_exactly(client, 7) == b"lost?!\n"


def test_a_blackhole_takes_new_connections_too_and_answers_nothing(proxy: Proxy) -> None:
    proxy.blackhole()
    with connected(proxy) as client:
        client.sendall(b"anybody?\n")
        assert is_silent(client)


@pytest.mark.parametrize("count", [0, 1, 5, 17])
@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_comes_after_exactly_so_many_bytes_to_the_server(
    upstream: Upstream, proxy: Proxy, client: socket.socket, count: int, reset: bool
) -> None:
    ask(client, b"x")
    cut = proxy.cut_after(count, Way.TO_SERVER, reset=reset)
    client.sendall(b"y" * 100)
    cut.wait()
    assert read_to_end(client) == (b"", reset)
    until(lambda: upstream.connections[0].fileno() < 0, "the server sees the end as well")
    assert upstream.came == b"x\n" + b"y" * count


@pytest.mark.parametrize("count", [0, 1, 6])
def test_a_cut_comes_after_exactly_so_many_bytes_to_the_client(proxy: Proxy, client: socket.socket, count: int) -> None:
    ask(client, b"x")
    cut = proxy.cut_after(count, Way.TO_CLIENT)
    client.sendall(b"hello\n")
    assert read_to_end(client) == (b"hello!\n"[:count], True)
    assert cut.is_over
    with connected(proxy) as again:
        assert ask(again, b"and on") == b"and on!\n"


def test_bytes_of_several_sends_are_counted_together(upstream: Upstream, proxy: Proxy, client: socket.socket) -> None:
    cut = proxy.cut_after(7, Way.TO_SERVER)
    assert ask(client, b"ab") == b"ab!\n"
    assert not cut.is_over
    client.sendall(b"cdefghi")
    cut.wait()
    read_to_end(client)
    until(lambda: len(upstream.came) == 7, "seven bytes arrive")
    assert upstream.came == b"ab\ncdef"


def test_every_connection_is_cut_at_once(proxy: Proxy, client: socket.socket) -> None:
    with connected(proxy) as other:
        ask(client, b"a")
        ask(other, b"b")
        assert proxy.cut() == 2
        assert [read_to_end(each) for each in (client, other)] == [(b"", True)] * 2


def test_the_reply_to_the_nth_matching_request_is_lost_and_the_request_is_not(
    upstream: Upstream, proxy: Proxy, client: socket.socket
) -> None:
    lost = proxy.lose_reply(b"PAY", nth=2)
    assert ask(client, b"PAY 1") == b"PAY 1!\n"
    assert ask(client, b"ping") == b"ping!\n"
    client.sendall(b"PA")
    until(lambda: upstream.came.endswith(b"PA"), "half of the request arrives")
    client.sendall(b"Y 2\n")
    assert read_to_end(client) == (b"", True)
    assert lost.is_over
    assert upstream.came == b"PAY 1\nping\nPAY 2\n"


def test_a_lost_reply_may_be_told_from_what_else_the_server_says(proxy: Proxy, client: socket.socket) -> None:
    lost = proxy.lose_reply(b"second", reply=b"second!")
    client.sendall(b"first\nsecond\n")
    lost.wait()
    got, was_reset = read_to_end(client)
    assert was_reset
    assert b"second" not in got


def test_a_delay_holds_each_byte_for_its_time_and_keeps_the_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.2, Way.TO_CLIENT)
    started = time.monotonic()
    client.sendall(b"a\nb\n")
    assert read_exactly(client, 6) == b"a!\nb!\n"
    assert time.monotonic() - started >= 0.2


def test_a_throttle_passes_so_many_bytes_a_second(proxy: Proxy, client: socket.socket) -> None:
    proxy.throttle(20_000, Way.TO_SERVER)
    started = time.monotonic()
    assert ask(client, b"z" * 6000) == b"z" * 6000 + b"!\n"
    assert time.monotonic() - started >= 0.25


def test_new_connections_are_refused_while_the_old_ones_go_on(proxy: Proxy, client: socket.socket) -> None:
    ask(client, b"a")
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert ask(client, b"b") == b"b!\n"
    proxy.admit()
    with connected(proxy) as again:
        assert ask(again, b"c") == b"c!\n"


def test_an_ignored_connect_gets_no_answer_until_the_proxy_admits_again(proxy: Proxy, client: socket.socket) -> None:
    ask(client, b"a")
    proxy.ignore()
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3)
    assert ask(client, b"b") == b"b!\n"
    proxy.admit()
    with connected(proxy) as again:
        assert ask(again, b"c") == b"c!\n"


def test_new_connections_go_to_another_server_after_a_change_of_target(
    upstream: Upstream, proxy: Proxy, client: socket.socket
) -> None:
    other = Upstream()
    ask(client, b"a")
    proxy.retarget(other.port)
    with connected(proxy) as again:
        assert ask(again, b"there") == b"there!\n"
    assert (upstream.came, other.came) == (b"a\n", b"there\n")
    other.close()


def test_a_dead_target_resets_the_client(proxy: Proxy) -> None:
    proxy.retarget(free_port())
    with pytest.raises(ConnectionResetError), connected(proxy) as client:  # now or in the connect itself
        client.recv(1)


def test_healing_forgets_faults_that_have_not_struck(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut_after(1, Way.TO_SERVER)
    proxy.lose_reply(b"a")
    proxy.delay(100)
    proxy.refuse()
    proxy.heal()
    assert ask(client, b"a") == b"a!\n"
    connected(proxy).close()


def test_a_closed_proxy_ends_its_connections_and_its_thread(proxy: Proxy, client: socket.socket) -> None:
    ask(client, b"a")
    proxy.close()
    assert read_to_end(client) == (b"", True)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxy.close()
