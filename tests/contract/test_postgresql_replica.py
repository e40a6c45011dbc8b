"""A PostgreSQL primary with a synchronous standby: the primary dies, the standby is promoted, work goes on there."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from taskbus import TaskBus
from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Settlement
from taskbus.cli.bench_app import QUEUE
from taskbus.cli.worker_process import WorkerProcess
from taskbus.errors import PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import fetch_when_there, message
from tests.servers.postgres_server import PASSWORD, PLACES, USER, PostgresServer
from tests.servers.server import as_user, need, until

BEFORE, AFTER = 60, 40
FAILOVER = 30.0
"""Seconds within which a worker must be at work again once the standby is promoted."""


class Standby(PostgresServer):
    """A copy of a primary that follows it, and answers questions meanwhile."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__()
        self._primary = primary

    def initialize(self) -> None:
        subprocess.run(
            [
                need("pg_basebackup", *PLACES), "-D", self.data, "-h", "127.0.0.1", "-p", str(self._primary.port),
                "-U", USER, "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
            ],
            check=True, capture_output=True, cwd=self.folder, env=self.environment() | {"PGPASSWORD": PASSWORD},
            **as_user(self.account),
        )  # fmt: skip

    def promote(self) -> None:
        """Make it a primary; returns when it takes writes."""
        assert self.run("SELECT pg_promote(true)", database="postgres") == [(True,)]


@dataclass(frozen=True)
class Pair:
    primary: PostgresServer
    standby: Standby

    @property
    def url(self) -> str:
        """Both of them, the primary first: libpq asks each whether it takes writes."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{USER}:{PASSWORD}@{hosts}/taskbus?target_session_attrs=read-write"

    def fail_over(self) -> None:
        self.primary.kill()
        self.standby.promote()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Every commit of the primary waits until the standby has it."""
    primary = PostgresServer()
    standby = Standby(primary)
    try:
        primary.start()
        standby.initialize()
        standby.start()
        primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.run("SELECT pg_reload_conf()")
        follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(lambda: primary.run(follows) == [(1,)], "the standby follows")
        yield Pair(primary, standby)
    finally:
        for server in (standby, primary):
            if server._process is not None:
                server.kill()


@pytest.fixture
def broker(pair: Pair) -> Iterator[Broker]:
    broker = Broker(pair.url)
    yield broker
    broker.close()


def test_what_was_accepted_and_held_is_on_the_standby_when_the_primary_is_killed(pair: Pair, broker: Broker) -> None:
    names = [f"m{number}" for number in range(4)]
    for name in names:
        broker.publish(message(name))
    consumer = broker.consumer(["default"], name="w", lease=30)
    held = fetch_when_there(consumer, 2)
    pair.fail_over()
    assert consumer.settle([Settlement(delivery) for delivery in held], None, shared=False) == []
    rest = fetch_when_there(consumer, 2)
    assert consumer.settle([Settlement(delivery) for delivery in rest], None, shared=False) == []
    assert min(delivery.fence for delivery in rest) > max(delivery.fence for delivery in held)
    broker.publish(message("after"))
    assert len(fetch_when_there(consumer, 1)) == 1
    consumer.close()


def test_a_worker_goes_on_with_the_standby_when_the_primary_is_killed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TASKBUS_BROKER", "TASKBUS_RESULTS"):
        monkeypatch.setenv(name, pair.url)
    monkeypatch.setenv(QUEUE, "bench")
    arguments = ["-A", "taskbus.cli.bench_app:app", "-Q", "bench", "--processes", "1"]
    with TaskBus("bench", broker=pair.url, results=pair.url) as app, WorkerProcess(arguments, os.environ) as worker:

        @app.task(name="bench.kept", queue="bench")
        def kept(number: int) -> int:
            return number

        accepted = [kept.delay(number) for number in range(BEFORE)]
        pair.primary.kill()
        with pytest.raises((PublishFailed, PublishUnknown)):
            kept.delay(0)
        pair.standby.promote()
        accepted += [kept.delay(number) for number in range(AFTER)]
        values = [result.get(timeout=FAILOVER) for result in accepted]
        assert values == [*range(BEFORE), *range(AFTER)]
        worker.check()
        assert [each.name for each in app.broker.workers()] != []


def test_a_primary_that_hangs_does_not_hide_its_successor(pair: Pair, broker: Broker) -> None:
    """As when its machine is gone: nobody refuses, and nobody answers."""
    broker.publish(message("before"))
    pair.primary.pause()
    try:
        with pytest.raises(PublishUnknown):
            broker.publish(message("m"))
        pair.standby.promote()
        broker.publish(message("m"))
        assert [each.ready for each in broker.queues()] == [2]
    finally:
        pair.primary.resume()


def test_a_publish_that_only_the_primary_has_is_not_called_accepted(pair: Pair) -> None:
    broker = Broker(pair.url, publish_timeout=1.0)
    broker.publish(message("before"))
    pair.standby.stop()
    with pytest.raises(PublishUnknown):
        broker.publish(message("alone"))
    pair.standby.start()
    broker.publish(message("alone"))
    assert [each.ready for each in broker.queues()] == [2]
    broker.close()


def test_a_standby_alone_is_no_broker_and_says_so(pair: Pair) -> None:
    broker = Broker(pair.standby.url())
    with pytest.raises(PublishFailed, match=r"only reads: .*name the primary in the URL"):
        broker.publish(message("m"))
    broker.close()
