"""What is told of messages that were sent: all, but for what is counted as dropped."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from taskbus import TaskBus
from taskbus.errors import PublishFailed
from taskbus.message import Message
from taskbus.monitor import announcing
from taskbus.monitor.announcing import MAX_WAITING_BYTES, Announcer, announcer


class Listener:
    """A station that takes what is told when ``listen`` is called, or at the end."""

    def __init__(self, post: Announcer) -> None:
        self._post = post
        self.heard: list[Any] = []
        self.rings = 0

    def start(self) -> None: ...

    def ring(self) -> None:
        self.rings += 1

    def listen(self) -> None:
        self.heard += [event["uuid"] for event in self._post.events()]

    def stop(self, timeout: float) -> None:
        self.listen()


class Rig:
    """An announcer, and the stations that it has made."""

    def __init__(self, rate: int = 1000) -> None:
        self.stations: list[Listener] = []
        self.announcer = Announcer(self._open, rate)

    def _open(self, post: Announcer) -> Listener:
        self.stations.append(Listener(post))
        return self.stations[-1]


def messages(*ids: str, size: int = 4) -> list[Message]:
    return [Message(id, "shop.add", b"\x92\x90\x80".ljust(size, b" ")) for id in ids]


@contextmanager
def block(error: Exception | None = None) -> Iterator[None]:
    """A batch of the broker's, which may fail at its end."""
    yield
    if error is not None:
        raise error


def send(announcer: Announcer, of: Sequence[Message]) -> None:
    for message in of:
        announcer.send_by(lambda _: None, message)


def test_what_was_sent_is_told_in_order() -> None:
    rig = Rig()
    send(rig.announcer, messages("1", "2"))
    rig.announcer.sent(messages("3", "4"))
    (station,) = rig.stations
    station.listen()
    assert station.heard == ["1", "2", "3", "4"] and station.rings == 3
    assert rig.announcer.dropped == 0


def test_what_the_broker_refuses_is_not_told() -> None:
    rig = Rig()

    def refuse(message: Message) -> None:
        raise PublishFailed("full")

    with pytest.raises(PublishFailed):
        rig.announcer.send_by(refuse, messages("1")[0])
    assert rig.stations == []


def test_a_batch_is_told_when_it_has_ended_and_one_that_fails_is_not() -> None:
    rig = Rig(rate=3)
    with rig.announcer.batch(block()):
        with rig.announcer.batch(block()):
            send(rig.announcer, messages("1"))
        assert rig.stations == [], "the outer block counts"
        send(rig.announcer, messages("2"))
    with pytest.raises(PublishFailed), rig.announcer.batch(block(PublishFailed("full"))):
        send(rig.announcer, messages("3"))
    (station,) = rig.stations
    station.listen()
    assert station.heard == ["1", "2"]


def test_what_is_above_the_rate_or_the_room_is_counted() -> None:
    rig = Rig(rate=10)
    rig.announcer.sent(messages(*map(str, range(25))))
    rig.stations[0].listen()
    assert len(rig.stations[0].heard) == 10 and rig.announcer.dropped == 15

    large = Rig()
    large.announcer.sent(messages("1", "2", "3", size=MAX_WAITING_BYTES // 2))
    assert large.announcer.dropped == 1
    large.stations[0].listen()
    large.announcer.sent(messages("4", size=MAX_WAITING_BYTES))
    assert large.announcer.dropped == 1, "what was told has made room"


def test_it_may_be_used_after_close_and_after_a_fork() -> None:
    rig = Rig()
    send(rig.announcer, messages("1"))
    rig.announcer.close()
    send(rig.announcer, messages("2"))
    child = os.fork()
    if not child:
        send(rig.announcer, messages("3"))
        rig.stations[-1].listen()
        os._exit(0 if len(rig.stations) == 3 and rig.stations[-1].heard == ["3"] else 1)
    assert os.waitpid(child, 0)[1] == 0, "the child tells of its own, by a station of its own"
    rig.announcer.close()
    assert [station.heard for station in rig.stations] == [["1"], ["2"]]


def test_a_broker_out_of_reach_costs_no_more_than_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "FLUSH_FOR", 0.3)
    made = announcer("redis://127.0.0.1:1/0", 1000)
    assert made is not None
    send(made, messages("1", "2"))
    made.close()
    assert made.dropped == 2


def test_no_thread_can_be_had_and_the_send_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(post: Announcer) -> Any:
        raise RuntimeError("can't start new thread")

    made = Announcer(refuse, 1000)
    send(made, messages("1"))
    made.close()
    assert made.dropped == 1


@pytest.mark.parametrize("url", ["memory://x", "sqlite:///x.db", "redis+cluster://h/", "postgresql://h/d"])
def test_where_celerys_tools_cannot_listen_nothing_is_told(url: str) -> None:
    assert announcer(url, 1) is None


def test_nothing_is_told_unless_asked() -> None:
    with (
        TaskBus("quiet", broker="redis://127.0.0.1:1/0") as quiet,
        TaskBus("loud", broker="redis://127.0.0.1:1/0", telemetry_sent=True) as loud,
    ):
        assert quiet.announcer is None and loud.announcer is not None
