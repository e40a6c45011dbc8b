"""Every store of schedules keeps the contract."""

import time

import pytest

from taskbus import TaskBus, every
from taskbus.beat.beat import Beat
from taskbus.message import SCHEDULE
from taskbus.store.schedule_opening import open_schedules
from taskbus.testing.clock import MovableClock
from taskbus.testing.schedule_contract import ScheduleContract
from taskbus.wire import celery, compact, formats
from tests.contract.store_grounds import Cluster, Memory, Mysql, Postgresql, Redis, Sqlite
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisServer


class TestMemorySchedules(Memory, ScheduleContract):
    opened = staticmethod(open_schedules)


class TestSqliteSchedules(Sqlite, ScheduleContract):
    opened = staticmethod(open_schedules)


class TestPostgresqlSchedules(Postgresql, ScheduleContract):
    opened = staticmethod(open_schedules)


class TestMysqlSchedules(Mysql, ScheduleContract):
    opened = staticmethod(open_schedules)


class TestRedisSchedules(Redis, ScheduleContract):
    opened = staticmethod(open_schedules)


class TestRedisSchedulesOnACluster(Cluster, ScheduleContract):
    opened = staticmethod(open_schedules)


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
