"""Every store of schedules keeps the contract."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus import TaskBus, every
from taskbus.beat.beat import Beat
from taskbus.clock import Clock
from taskbus.message import SCHEDULE
from taskbus.store.schedule_opening import open_schedules
from taskbus.store.schedules import ScheduleStore
from taskbus.testing.clock import MovableClock
from taskbus.testing.schedule_contract import ScheduleContract
from taskbus.wire import celery, compact, formats
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisCluster, RedisServer


class TestMemorySchedules(ScheduleContract):
    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(f"memory://{folder}", clock)


class TestSqliteSchedules(ScheduleContract):
    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(f"sqlite:///{folder}/schedules.db", clock)


class TestPostgresqlSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = postgres_server.new_url()

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


class TestMysqlSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = mariadb_server.new_url()

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


class TestRedisSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def empty(self, server: RedisServer) -> None:
        server.cli("FLUSHALL")
        self.url = server.url

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.kill()


class TestRedisSchedulesOnACluster(ScheduleContract):
    @pytest.fixture(autouse=True)
    def empty(self, cluster: RedisCluster) -> None:
        cluster.flush()
        self.url = cluster.url

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.mark.parametrize("kind", ["redis", "postgresql", "mysql"])
def test_the_time_is_the_servers(request: pytest.FixtureRequest, kind: str) -> None:
    made = {"redis": lambda: request.getfixturevalue("server").url, "postgresql": postgres_server.new_url}
    store = open_schedules(made.get(kind, mariadb_server.new_url)())
    assert abs(store.now() - time.time()) < 60
    assert store.lead("a", 10).is_held and store.leader() == "a" and not store.lead("b", 10).is_held
    store.close()


def test_a_run_for_a_queue_shared_with_celery_is_in_its_format_and_confirmed(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    clock = MovableClock()
    with TaskBus("shop", broker=server.url, clock=clock, celery_queues=("shared",)) as app:
        for queue in ("own", "shared"):
            task = app.task(name=f"for.{queue}", queue=queue)(lambda: None)
            app.schedule(queue, task.s(), every(10, anchor=0))
        places = app.schedules.places()
        assert places.is_one
        beat = Beat(places, list(app.schedules.declared.values()), app.name)
        beat.turn()
        clock.advance(10)
        beat.turn()
        sent = {queue: app.broker.peek(queue, 9) for queue in ("own", "shared")}
        assert [len(each) for each in sent.values()] == [1, 1]
        assert (sent["own"][0].content_type, sent["shared"][0].content_type) == (
            compact.CONTENT_TYPE,
            celery.CONTENT_TYPE,
        )
        message = formats.decode(sent["shared"][0].wire, "shared", 0, 1 << 20)
        assert (message.task, message.headers[SCHEDULE]) == ("for.shared", "shared")
        assert message.id == app.schedules.get("shared").last_task_id and places.schedules.pending(9) == []
