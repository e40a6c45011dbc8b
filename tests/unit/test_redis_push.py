"""A push message that comes together with a reply is heard at once: no descriptor will be readable for it again."""

import socket
import threading

from taskbus.database.redis import RedisDatabase

HELLO = b"%1\r\n+server\r\n+redis\r\n"
SUBSCRIBED = b">3\r\n+subscribe\r\n$4\r\nbell\r\n:1\r\n+PONG\r\n"
PONG_AND_RING = b"+PONG\r\n>3\r\n+message\r\n$4\r\nbell\r\n$0\r\n\r\n"


def answer(listener: socket.socket, answers: list[bytes]) -> None:
    connection, _ = listener.accept()
    with connection:
        for each in answers:
            connection.recv(4096)
            connection.sendall(each)
        connection.recv(4096)


def test_a_ring_that_comes_with_a_reply_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = [HELLO, SUBSCRIBED, PONG_AND_RING]
        server = threading.Thread(target=answer, args=(listener, script), daemon=True)
        server.start()
        link = RedisDatabase.open(f"redis://127.0.0.1:{listener.getsockname()[1]}/0").connect()
        link.hello()
        rings: list[str] = []
        link.subscribe(b"bell", lambda: rings.append("ring"))
        assert link.call("PING") == b"PONG"
        assert rings == ["ring"]
        link.drop()
        server.join(10)
