"""Where a Redis is, what its errors mean, and push messages that come along with a reply."""

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from taskbus.broker.transports.port import Parcel
from taskbus.broker.transports.redis.element import claimed, pack
from taskbus.broker.transports.redis.keys import Keys, escaped, unescaped
from taskbus.database.redis import RedisDatabase
from taskbus.database.redis_cluster import slot
from taskbus.database.redis_errors import code_of, refused
from taskbus.database.redis_url import Address, locate
from taskbus.errors import ConfigError

# --- URLs ---


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "db"),
    [
        ("redis://host", "one", [("host", 6379)], 0),
        ("redis://", "one", [("localhost", 6379)], 0),
        ("redis://Host:1/7", "one", [("host", 1)], 7),
        ("rediss://[::1]:2", "one", [("::1", 2)], 0),
        ("redis://[::1]", "one", [("::1", 6379)], 0),
        ("sentinel://a,b:2/main/3", "sentinel", [("a", 26379), ("b", 2)], 3),
        ("redis+cluster://a,b:2", "cluster", [("a", 6379), ("b", 2)], 0),
    ],
)
def test_a_url_says_where(url: str, kind: str, addresses: list[tuple[str, int]], db: int) -> None:
    place = locate(url)
    assert (place.kind, [*place.addresses], place.db) == (kind, [Address(*each) for each in addresses], db)


def test_a_url_says_who_and_shows_no_secret() -> None:
    place = locate("rediss://us%40er:p%2Fw@host/1?prefix=shop&ca_file=/ca.pem")
    assert (place.user, place.password, place.prefix, place.is_tls) == ("us@er", "p/w", "shop", True)
    assert place.options["ca_file"] == "/ca.pem"
    assert "p/w" not in repr(place) + place.shown and "p%2Fw" not in repr(place) + place.shown
    place = locate("sentinel://:one@a,b/main?sentinel_password=two")
    assert (place.password, place.service, place.options["sentinel_password"]) == ("one", "main", "two")
    assert not {"one", "two"} & {word for word in repr(place).replace("'", " ").replace(":", " ").split()}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://host/x", "must be a number"),
        ("redis://host:x", "no port; a password is followed by @host"),
        ("redis://host:70000", "no port"),
        ("redis://a,b", "several servers; write sentinel://"),
        ("redis://host?ssl=1", "unknown option ssl; there are prefix"),
        ("redis://host?ca_file=x", "ca_file needs TLS; write rediss://"),
        ("redis+cluster://host?ca_file=x", r"needs TLS; write rediss\+cluster://"),
        ("rediss://host?key_file=x", "name that too: cert_file=/path"),
        ("sentinel://host/0", "names no service"),
        ("redis+cluster://host/1", "database 0 only"),
        ("rediscluster://host", "is no Redis"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_advice(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        locate(url)


def test_the_same_data_has_one_identity() -> None:
    def identity(url: str) -> str:
        return RedisDatabase.open(url).identity

    assert identity("redis://u:one@HOST") == identity("redis://u:two@host:6379/0?prefix=taskbus")
    assert identity("sentinel://a,b/m") == identity("sentinel://b,a/m/0")
    urls = ("redis://h", "redis://h/1", "redis://h?prefix=x", "redis://u@h", "redis://i", "sentinel://h:6379/m")
    assert len({identity(url) for url in urls}) == len(urls)
    assert identity("redis+cluster://h") == ""


# --- errors ---


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("OOM command not allowed. script: 1f, on @user_script:2.", "OOM"),
        ("ERR Error running script (call to f_1f): @user_script:9: @user_script: 9: -OOM command not allowed", "OOM"),
        ("ERR max number of clients reached", "MAXCLIENTS"),
        ("ERR The user executing the script can't run this command or subcommand script: 1f", "NOPERM"),
        ("ERR unknown command", "ERR"),
        ("WRONGPASS invalid username-password pair", "WRONGPASS"),
    ],
)
def test_an_answer_has_a_code(answer: str, code: str) -> None:
    assert code_of(answer) == code
    assert refused(answer, "redis://host").code == code
    assert "redis://host" in str(refused(answer, "redis://host"))


# --- keys and elements ---


@pytest.mark.parametrize("queue", ["", "default", "{}", "a{b}c", "100%", "%7B", "{", "żółw 🐢", "%empty", "%broker"])
def test_a_queue_of_any_name_has_keys_of_its_own_in_one_slot(queue: str) -> None:
    assert unescaped(escaped(queue)) == queue
    keys = Keys("taskbus")
    assert keys.base(queue) not in (keys.home, keys.base(queue + "x"))
    assert slot(keys.base(queue)) == slot(f"{keys.base(queue)}:held:1") == slot(escaped(queue).encode())


def test_a_prefix_has_no_braces() -> None:
    with pytest.raises(ConfigError, match="braces"):
        Keys("{shop}")


@pytest.mark.parametrize("properties", [None, b"", b"some"])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_an_element_comes_back_as_it_was_packed(body: bytes, properties: bytes | None) -> None:
    packed = pack(Parcel("q", body, 7, 12.5, properties), 10.0, 1)
    (found,) = claimed("q", 3, 99, [packed])
    assert (found.rank, found.priority, found.queue, found.body, found.properties) == (2, 7, "q", body, properties)
    assert (found.fence, found.tag, found.crashes, found.losses) == (99, 99 << 16 | 3, 0, 0)


# --- the connection ---


@pytest.fixture
def chatty() -> Iterator[int]:
    """The port of a server that sends a push message along with the reply to TIME, in one piece."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while received := connection.recv(65536):
                if b"HELLO" in received:
                    connection.sendall(b"%1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n")
                elif b"SUBSCRIBE" in received:
                    connection.sendall(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n+PONG\r\n")
                else:
                    connection.sendall(b"+now\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()


def test_a_push_message_that_came_along_with_a_reply_is_heard_at_once(chatty: int) -> None:
    """Nothing else would tell of it: it was read, so the descriptor is not readable."""
    link = RedisDatabase.open(f"redis://127.0.0.1:{chatty}").link()
    heard: list[str] = []
    link.subscribe(b"c", lambda: heard.append("c"))
    for n in range(3):
        assert link.call("TIME") == b"now"
        assert len(heard) == n + 1
        assert not select.select([link.fd], [], [], 0)[0]
    link.drop()
