"""A producer with a spool on a Redis whose network breaks: refused, cut, silent, or its answers lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus import TaskBus
from taskbus.errors import PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import waiting
from tests.servers.proxy import Proxy, Way
from tests.servers.redis_server import ALWAYS, RedisServer
from tests.servers.server import need, until

TIMEOUT = 1.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"), *ALWAYS)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    server.cli("FLUSHALL")
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def app(proxy: Proxy, tmp_path: Path) -> Iterator[TaskBus]:
    url = f"redis://127.0.0.1:{proxy.port}/0"
    with TaskBus("shop", broker=url, spool=f"{tmp_path}/spool.db", publish_timeout=TIMEOUT) as app:
        yield app


def send(app: TaskBus, first: int, count: int) -> None:
    for n in range(first, first + count):
        app.send("tasks.add", (n,), task_id=f"m{n:04}")


def names(count: int) -> list[str]:
    return [f"m{n:04}" for n in range(count)]


def drained(app: TaskBus) -> None:
    spool = app.spool
    assert spool is not None
    until(lambda: not spool.size().waiting, "the spool is empty", 60)


@pytest.mark.parametrize("fault", ["refused", "silent", "cut in a frame"])
def test_every_task_arrives_once_and_in_order_through_an_outage(app: TaskBus, proxy: Proxy, fault: str) -> None:
    send(app, 0, 10)
    if fault == "cut in a frame":
        proxy.cut_after(40, Way.TO_SERVER)
    else:
        proxy.cut() if fault == "refused" else None
    proxy.blackhole() if fault == "silent" else proxy.refuse()
    started = time.monotonic()
    send(app, 10, 10)
    with app.batch(max_size=4):
        send(app, 20, 10)
    took = time.monotonic() - started
    assert took < 3 * TIMEOUT, "only the first of them may wait for the broker"
    spool = app.spool
    assert spool is not None and spool.size().waiting == 20
    proxy.heal()
    drained(app)
    send(app, 30, 5)
    assert waiting(app.broker) == names(35)


def test_a_lost_answer_leads_through_the_spool_and_queues_the_task_once(app: TaskBus, proxy: Proxy) -> None:
    send(app, 0, 3)
    lost = proxy.lose_reply(b"m0003")
    proxy.refuse()
    send(app, 3, 1)
    lost.wait()
    spool = app.spool
    assert spool is not None and spool.size().waiting == 1
    proxy.heal()
    drained(app)
    assert waiting(app.broker) == names(4)


def test_without_a_spool_a_lost_answer_is_an_unknown_outcome_that_may_be_repeated(
    proxy: Proxy, server: RedisServer
) -> None:
    with TaskBus("shop", broker=f"redis://127.0.0.1:{proxy.port}/0", publish_timeout=TIMEOUT) as app:
        send(app, 0, 1)
        lost = proxy.lose_reply(b"m0001")
        with pytest.raises(PublishUnknown, match="sent again with the same task_id") as caught:
            send(app, 1, 1)
        assert lost.is_over
        assert caught.value.task_ids == ("m0001",)
        send(app, 1, 1)
        assert waiting(app.broker) == names(2)


@pytest.mark.parametrize("is_new", [False, True], ids=["connected", "not connected yet"])
def test_a_send_into_silence_ends_within_its_deadline_countdown_included(
    proxy: Proxy, tmp_path: Path, is_new: bool
) -> None:
    with TaskBus("shop", broker=f"redis://127.0.0.1:{proxy.port}/0", publish_timeout=TIMEOUT) as app:
        if not is_new:
            send(app, 0, 1)
        for silence in (proxy.blackhole, proxy.ignore):
            silence()
            for _ in range(2):
                started = time.monotonic()
                with pytest.raises(PublishFailed):
                    app.send("tasks.add", countdown=10)
                assert time.monotonic() - started < TIMEOUT * 1.3
            proxy.heal()
            proxy.cut()
