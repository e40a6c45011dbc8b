"""What `docs/howto/secure_redis.md` says is enough: users with the least permissions. TLS is in test_tls.py."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Settlement
from taskbus.clock import Clock
from taskbus.errors import BrokerError, PublishFailed
from taskbus.store.flows import BeginFlow, CancelFlow, EndNode, Flow, Node, NodeState, ReviveNode, Start
from taskbus.store.opening import open_store
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import ReportStore
from taskbus.store.schedule_opening import open_schedules
from taskbus.store.schedules import ScheduleStore
from taskbus.testing.records import FAILURE, saved
from taskbus.testing.report_contract import ReportContract
from taskbus.testing.schedule_contract import ScheduleContract
from taskbus.testing.transport_basis import ids, message, send
from taskbus.testing.transport_kombu import KombuContract
from taskbus.testing.transport_leases import LeasesContract
from taskbus.testing.transport_messages import MessagesContract
from taskbus.testing.transport_publishing import PublishingContract
from tests.servers.redis_server import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "secure_redis.md"


def users(*, new: bool) -> list[list[str]]:
    """The commands of the page that make a user, or give the sender more."""
    lines = [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("ACL SETUSER")]
    return [line for line in lines if ("reset" in line) is new and (new or "sender" in line)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    for command in users(new=True):
        server.cli(*command)
    yield server
    server.kill()


def url_of(server: RedisServer, user: str) -> str:
    return f"redis://{user}:password@127.0.0.1:{server.port}/0?prefix=shop"


@pytest.fixture
def url(server: RedisServer) -> str:
    server.cli("FLUSHALL")
    server.cli("ACL", "LOG", "RESET")
    return url_of(server, "worker")


class TestTheLeastPrivileges(MessagesContract, PublishingContract, LeasesContract, KombuContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestSchedulesWithTheLeastPrivileges(ScheduleContract):
    @pytest.fixture(autouse=True)
    def empty(self, url: str) -> None:
        self.url = url

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


class TestReportsWithTheLeastPrivileges(ReportContract):
    @pytest.fixture(autouse=True)
    def empty(self, url: str) -> None:
        self.url = url

    def open(self, folder: Path, clock: Clock) -> ReportStore:
        return open_reports(self.url, clock)


def test_a_worker_settles_with_its_results_and_is_refused_nothing(server: RedisServer, url: str) -> None:
    broker, store = Broker(url), open_store(url)
    assert broker.database == store.database
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a")
    (delivery,) = consumer.fetch(1)
    settlement = Settlement(delivery, follow_ups=[message("next")], changes=[saved("a")])
    assert consumer.settle([settlement], store.apply, shared=True) == []
    assert store.results(["a"]).keys() == {"a"}
    assert {remark.subject for remark in (*broker.examine(), *store.examine())} >= {"version", "durability"}
    consumer.renew()
    assert consumer.reap() == 0
    consumer.close()
    assert server.cli("ACL", "LOG") == []


def flow() -> BeginFlow:
    """One task after the other."""
    nodes = [Node("a", "task", keeps=True), Node("b", "task", after="a", queue="next", wire=b"b", takes=True)]
    return BeginFlow(Flow("flow", "", "b", 1.0, 60.0), nodes)


def test_a_worker_goes_on_with_workflows_and_is_refused_nothing(server: RedisServer, url: str) -> None:
    broker, store = Broker(url), open_store(url)
    consumer = broker.consumer(["default"], name="w", lease=30)
    store.apply([flow()])
    send(broker, "a")
    (delivery,) = consumer.fetch(1)
    assert store.begin([Start("flow", "a", "", 1.0)])[0].verdict == "run"
    end = EndNode("flow", "a", NodeState.FAILURE, 2.0, failure=FAILURE)
    assert consumer.settle([Settlement(delivery, changes=[end])], store.apply, shared=True) == []
    store.apply([ReviveNode("flow", "a", is_sent=True)])
    store.apply([EndNode("flow", "a", NodeState.SUCCESS, 2.0, b"1")])
    assert store.begin([Start("flow", "b", "", 1.0)])[0].inputs is not None
    store.apply([EndNode("flow", "b", NodeState.SUCCESS, 2.0)])
    assert [view.flow.id for view in store.flows(limit=9)] == ["flow"]
    assert len(store.nodes("flow", limit=9)) == 2
    server.cli("DEL", "shop:flow:{flow}")
    assert store.sweep(3.0) == 0 and store.flows(limit=9) == []
    consumer.close()
    assert server.cli("ACL", "LOG") == []


def test_a_worker_reaches_no_other_application(server: RedisServer, url: str) -> None:
    stranger = Broker(url.replace("prefix=shop", "prefix=bank"))
    with pytest.raises(PublishFailed, match="this user may not do that"):
        send(stranger, "a")
    for command in (("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("GET", "bank:x")):
        with pytest.raises(hiredis.ReplyError, match="NOPERM"):
            server.cli_as("worker", "password", *command)


def test_a_sender_sends_and_reads_results_and_takes_nothing(server: RedisServer, url: str) -> None:
    sender, worker = Broker(url_of(server, "sender")), Broker(url)
    consumer = worker.consumer(["default"], name="w", lease=30)
    send(sender, "a", due_at=sender.now() + 60)
    send(sender, "b")
    with sender.batch():
        send(sender, "c", "d", priority=9)
    assert ids(consumer.fetch(9)) == ["c", "d", "b"]
    open_store(url).apply([saved("b")])
    results = open_store(url_of(server, "sender"))
    assert results.results(["b"]).keys() == {"b"}
    assert server.cli("ACL", "LOG") == []
    with pytest.raises(BrokerError, match="this user may not do that"):
        sender.consumer(["default"], name="thief", lease=30)
    consumer.close()


def test_a_sender_that_may_do_some_more_begins_workflows(server: RedisServer, url: str) -> None:
    sender = url_of(server, "sender")
    broker, store = Broker(sender), open_store(sender)
    begin = Settlement(None, follow_ups=[message("a")], changes=[flow()])
    with pytest.raises(BrokerError, match="this user may not do that"):
        broker.transact(begin, store.apply, shared=True)
    for command in users(new=False):
        server.cli(*command)
    server.cli("ACL", "LOG", "RESET")
    assert broker.transact(begin, store.apply, shared=True)
    assert [view.state for view in store.nodes("flow", limit=9)] == [NodeState.READY, NodeState.WAITING]
    assert [view.flow.id for view in store.flows(limit=9)] == ["flow"]
    store.apply([CancelFlow("flow")])
    assert server.cli("ACL", "LOG") == []
