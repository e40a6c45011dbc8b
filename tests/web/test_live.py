"""The live stream, against uvicorn: one picture for all, at a steady pace, and no harm by those who do not take it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.web import live
from taskbus.web.server import stop_streams, web_app
from tests.web.conftest import running, whoever_says_so

VIEWER = "X-Test-Role: VIEWER\r\n"


@contextmanager
def served(web: Starlette) -> Iterator[int]:
    """The port on which uvicorn serves it, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(web, log_config=None, ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stop_streams(web)
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture
def web(app: TaskBus) -> Iterator[Starlette]:
    yield from running(web_app(app, identify=whoever_says_so))


@pytest.fixture
def port(web: Starlette) -> Iterator[int]:
    with served(web) as found:
        yield found


class Reader:
    """A client of the stream on a socket of its own; reads when it is told to."""

    def __init__(self, port: int, query: str = "", headers: str = "", room: int = 0) -> None:
        self._socket = socket.socket()
        if room:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        request = f"GET /api/v1/live{query} HTTP/1.1\r\nHost: localhost\r\n{VIEWER}{headers}\r\n"
        self._socket.sendall(request.encode())
        self._file = self._socket.makefile("rb")

    def head(self) -> str:
        lines = []
        while line := self._file.readline().strip():
            lines.append(line.decode())
        return "\n".join(lines)

    def event(self) -> dict[str, Any]:
        """The next snapshot, with its ``id``."""
        number = 0
        while True:
            line = self._file.readline()
            if not line:
                raise EOFError
            if line.startswith(b"id: "):
                number = int(line[4:])
            if line.startswith(b"data: "):
                return {"id": number, **json.loads(line[6:])}

    def rest(self) -> bytes:
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_stream_sends_whole_pictures_with_growing_numbers(port: int) -> None:
    reader = Reader(port, "?view=queues", "Last-Event-ID: 7\r\n")
    head = reader.head()
    assert "200 OK" in head and "content-type: text/event-stream" in head
    assert "x-accel-buffering: no" in head and "cache-control: no-store" in head
    assert "content-encoding" not in head and "content-security-policy" in head
    first, second = reader.event(), reader.event()
    assert second["id"] > first["id"]
    assert second["now"] - first["now"] > 0.5
    assert {"queues", "problems", "rates", "nodes", "tail"} <= set(first)
    reader.close()


def test_all_who_look_at_one_view_get_the_same_bytes_made_once(web: Starlette, port: int) -> None:
    made: list[str] = []
    original = live.snapshot

    def counted(seen: Any, view: Any) -> Any:
        made.append(view)
        return original(seen, view)

    live.snapshot = counted  # type: ignore[attr-defined]
    try:
        readers = [Reader(port) for _ in range(10)]
        events = [[reader.event() for _ in range(3)] for reader in readers]
    finally:
        live.snapshot = original  # type: ignore[attr-defined]
    by_number = {event["id"]: event for each in events for event in each}
    assert all(by_number[event["id"]] == event for each in events for event in each)
    assert len(made) <= max(by_number) - min(by_number) + 3
    for reader in readers:
        reader.close()
    until(lambda: web.state.server.live.clients == 0)


def test_a_picture_that_fails_for_whatever_reason_is_followed_by_the_next(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = iter([KeyError("a fault of ours")])
    original = live.snapshot

    def fails_once(seen: Any, view: Any) -> Any:
        for fault in faults:
            raise fault
        return original(seen, view)

    monkeypatch.setattr(live, "snapshot", fails_once)
    reader = Reader(port)
    assert reader.event()["id"] > 1
    reader.close()
    assert "a fault of ours" in caplog.text


def test_who_leaves_is_forgotten_and_nothing_is_made_for_nobody(web: Starlette, port: int) -> None:
    reader = Reader(port)
    reader.event()
    reader.close()
    server = web.state.server
    until(lambda: server.live.clients == 0)
    until(lambda: server.live._publishing.done())


def test_while_somebody_looks_every_process_is_asked_to_report_each_second(web: Starlette, port: int) -> None:
    reports = web.state.server.engine.house().reports
    from taskbus.store.reports import Report

    assert reports.post(Report("w-1", 1, time.time(), b""), 0).watched_until < time.time()
    reader = Reader(port)
    reader.event()
    until(lambda: reports.post(Report("w-1", 2, time.time(), b""), 0).watched_until > time.time())
    reader.close()


def test_who_does_not_take_his_pictures_is_sent_away_and_others_go_on(
    web: Starlette, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept for him but what the connection holds; the clock goes on for everybody else."""
    monkeypatch.setattr(live, "SLOW", 1.0)
    monkeypatch.setattr(live, "encoded", lambda value: b'{"now": %f, "text": "%b"}' % (value.now, b"x" * 400_000))
    slow, good = Reader(port, room=4096), Reader(port)
    for _ in range(4):
        good.event()
    until(lambda: web.state.server.live.clients == 1)
    before = good.event()["now"]
    assert good.event()["now"] - before < 5
    slow.close()
    good.close()


def test_silence_is_broken_by_a_comment(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)
    reader = Reader(port)
    reader.head()
    seen = b""
    while b"\n:\n" not in seen:
        seen += reader._file.readline()
        assert len(seen) < 100_000
    reader.close()


def test_too_many_streams_are_refused_with_advice(web: Starlette, port: int) -> None:
    web.state.server.live._most = 2
    readers = [Reader(port) for _ in range(2)]
    for reader in readers:
        reader.event()
    extra = Reader(port)
    head = extra.head()
    assert "503" in head and "retry-after: 30" in head
    for reader in (*readers, extra):
        reader.close()


def test_a_view_that_there_is_not_is_refused(port: int) -> None:
    reader = Reader(port, "?view=everything")
    assert "400" in reader.head()
    reader.close()


def test_a_server_that_stops_ends_its_streams_at_once(tmp_path: Path) -> None:
    with TaskBus("t", broker=f"sqlite:///{tmp_path}/a.db") as app:
        web = web_app(app, identify=whoever_says_so)
        with served(web) as port:
            reader = Reader(port)
            reader.event()
            started = time.monotonic()
        assert time.monotonic() - started < 15
        assert reader.rest().endswith(b"0\r\n\r\n")
        reader.close()
        assert not web.state.server.engine.is_running
