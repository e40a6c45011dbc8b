"""The Redis transport on a real cluster of three nodes, and with Sentinels: the contract, and nodes that die."""

import contextlib
import itertools
import re
import time
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Act, Settlement
from taskbus.broker.transports.redis.keys import Keys
from taskbus.database.redis_cluster import slot
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import DEADLINE, acks, fetch_when_there, ids, message, quiet, readable, send
from taskbus.testing.transport_contract import TransportContract
from tests.servers.redis_sentinel import House
from tests.servers.redis_server import RedisCluster, spread
from tests.servers.server import until

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
_numbers = itertools.count()


@pytest.fixture
def url(cluster: RedisCluster) -> str:
    return f"{cluster.url}?prefix=test{next(_numbers)}"


class TestRedisClusterTransport(TransportContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


@pytest.mark.parametrize("key", ["taskbus:{default}:0", "a", "{}x", "{a}b{c}", "x{{y}}", "żółw{ł}"])
def test_a_slot_is_what_redis_says(cluster: RedisCluster, key: str) -> None:
    assert slot(key) == cluster.nodes[0].cli("CLUSTER", "KEYSLOT", key)


def test_queues_spread_over_the_nodes_and_one_worker_serves_them_all(cluster: RedisCluster, url: str) -> None:
    queues = spread(Keys(url.partition("prefix=")[2]))
    broker = Broker(url)
    consumer = broker.consumer(queues, name="w", lease=30)
    assert broker.database == ""
    quiet(consumer)
    with broker.batch():
        for queue in queues:
            send(broker, *(f"{queue}-{n}" for n in range(10)), queue=queue)
    assert readable(consumer)
    first = consumer.fetch(9)
    assert {delivery.queue for delivery in first} == set(queues)
    rest = consumer.fetch(100)
    assert len({delivery.tag for delivery in (*first, *rest)}) == 30
    here, there = queues[0], queues[1]
    settlements = acks([*first[1:], *rest])
    settlements.append(Settlement(first[0], follow_ups=[message("same", queue=here), message("other", queue=there)]))
    assert consumer.settle(settlements, None, shared=False) == []
    assert sorted(ids(consumer.fetch(5))) == ["other", "same"]
    assert all(any(b"keys=" in node.cli("INFO", "keyspace") for _ in "1") for node in cluster.nodes)
    consumer.close()
    broker.close()


def test_a_stale_worker_publishes_nothing_in_other_queues(cluster: RedisCluster, url: str) -> None:
    queues = spread(Keys(url.partition("prefix=")[2]))
    broker = Broker(url)
    consumer = broker.consumer(queues[:1], name="w", lease=30)
    send(broker, "a", queue=queues[0])
    (delivery,) = consumer.fetch(1)
    assert consumer.settle([Settlement(delivery, Act.RELEASE)], None, shared=False) == []
    late = Settlement(delivery, follow_ups=[message("next", queue=queues[1])])
    assert consumer.settle([late], None, shared=False) == [delivery]
    assert broker.peek(queues[1], 5) == []
    consumer.close()
    broker.close()


def test_work_goes_on_while_a_slot_moves_to_another_node(cluster: RedisCluster, url: str) -> None:
    """Half of a queue's keys are at each node for a while: nothing is taken for empty, or for lost."""
    keys = Keys(url.partition("prefix=")[2])
    queue = spread(keys)[0]
    moving, source, target = slot(keys.base(queue)), cluster.nodes[0], cluster.nodes[1]
    broker = Broker(url, publish_timeout=0.5)
    consumer = broker.consumer([queue], name="w", lease=30)
    send(broker, "a", "b", queue=queue)
    (held,) = consumer.fetch(1)
    for node, act, other in ((target, "IMPORTING", source), (source, "MIGRATING", target)):
        node.cli("CLUSTER", "SETSLOT", moving, act, other.cli("CLUSTER", "MYID"))
    names = source.cli("CLUSTER", "GETKEYSINSLOT", moving, 100)
    assert len(names) > 3
    for n, name in enumerate(names):
        source.cli("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        if n in (0, len(names) // 2, len(names) - 1):
            with pytest.raises(PublishFailed):
                send(broker, "c", queue=queue)
    for node in (target, source, cluster.nodes[2]):
        node.cli("CLUSTER", "SETSLOT", moving, "NODE", target.cli("CLUSTER", "MYID"))
    send(broker, "c", queue=queue)
    assert consumer.settle(acks([held]), None, shared=False) == []
    assert ids(consumer.fetch(5)) == ["b", "c"]
    assert consumer.reap() == 0
    consumer.close()
    broker.close()
    for node, act, other in ((source, "IMPORTING", target), (target, "MIGRATING", source)):
        node.cli("CLUSTER", "SETSLOT", moving, act, other.cli("CLUSTER", "MYID"))
    for name in target.cli("CLUSTER", "GETKEYSINSLOT", moving, 100):
        target.cli("MIGRATE", "127.0.0.1", source.port, name, 0, 5000)
    for node in (source, target, cluster.nodes[2]):
        node.cli("CLUSTER", "SETSLOT", moving, "NODE", source.cli("CLUSTER", "MYID"))


def test_the_least_privileges_are_enough_on_a_cluster(cluster: RedisCluster, url: str) -> None:
    prefix = url.partition("prefix=")[2]
    page = (Path(__file__).parents[2] / "docs" / "howto" / "secure_redis.md").read_text()
    line, _ = [line for line in page.splitlines() if line.startswith("ACL SETUSER worker")]  # with remote control first
    (more,) = re.findall(r"On a cluster add `(.*?)`", page)
    for node in cluster.nodes:
        node.cli(*line.replace("shop", prefix).split(), *more.split())
        node.cli("ACL", "LOG", "RESET")
    queues = spread(Keys(prefix))
    broker = Broker(url.replace("://", "://worker:password@"))
    consumer = broker.consumer(queues, name="w", lease=30)
    for queue in queues:
        send(broker, "a", queue=queue)
    deliveries = consumer.fetch(9)
    assert len(deliveries) == 3
    assert consumer.settle([Settlement(each, follow_ups=[message("b", queue=queues[0])]) for each in deliveries],
                           None, shared=False) == []  # fmt: skip
    consumer.renew()
    assert consumer.reap() == 0
    assert len(broker.queues()) == 3
    assert [(remark.subject, remark.weight.value) for remark in broker.examine()] == [
        ("version", "fine"), ("eviction", "fine"), ("durability", "fine")
    ]  # fmt: skip
    consumer.close()
    assert [node.cli("ACL", "LOG") for node in cluster.nodes] == [[], [], []]


def test_one_node_of_a_cluster_is_refused_by_name(cluster: RedisCluster) -> None:
    with pytest.raises(BrokerError, match=r"node of a cluster; write redis\+cluster://"):
        Broker(cluster.nodes[0].url).ping()


def test_a_replica_takes_over_for_a_node_that_died(tmp_path: Path) -> None:
    with RedisCluster(tmp_path, replicas=1) as cluster:
        queues = spread(Keys("taskbus"))
        broker = Broker(cluster.url)
        consumer = broker.consumer(queues, name="w", lease=60)
        for queue in queues:
            send(broker, f"before-{queue}", queue=queue)
        held = consumer.fetch(1)
        until(cluster.nodes[0].is_copied, "the replica has it all")
        cluster.nodes[0].kill()
        came = []
        eventually_sent(broker, "after", queue=queues[0])
        deadline = time.monotonic() + DEADLINE
        while len(came) < 3 and time.monotonic() < deadline:
            with contextlib.suppress(BrokerError):
                came += fetch_when_there(consumer, 10)
        assert sorted(ids([*held, *came])) == sorted(["after", *(f"before-{queue}" for queue in queues)])
        assert consumer.settle(acks([*held, *came]), None, shared=False) == []
        consumer.renew()
        quiet(consumer)
        send(broker, "bell", queue=queues[0])
        assert readable(consumer)
        consumer.close()
        broker.close()


def eventually_sent(broker: Broker, id: str, **fields: object) -> None:
    """Send it, under the same id, until it is accepted."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            broker.publish(message(id, **fields))
            return
        except PublishFailed:
            assert time.monotonic() < deadline, f"{id} was never accepted"


# --- Sentinels ---


def test_the_primary_that_sentinels_name_is_followed_through_a_failover(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        broker = Broker(house.url, publish_timeout=2)
        consumer = broker.consumer(["default"], name="w", lease=60)
        send(broker, "a", "b")
        (held,) = consumer.fetch(1)
        until(house.primary.is_copied, "the replica has it all")
        house.sentinels[0].kill()  # one Sentinel down is nothing
        house.primary.kill()
        eventually_sent(broker, "c")
        came: list[str] = []
        deadline = time.monotonic() + DEADLINE
        while len(came) < 2 and time.monotonic() < deadline:
            with contextlib.suppress(BrokerError):
                came += ids(consumer.fetch(5))
        assert came == ["b", "c"]
        assert consumer.settle(acks([held]), None, shared=False) == []
        quiet(consumer)
        send(broker, "d")
        assert ids(fetch_when_there(consumer)) == ["d"]
        consumer.close()
        broker.close()


def test_sentinels_that_do_not_answer_are_told(tmp_path: Path) -> None:
    broker = Broker("sentinel://:secret@127.0.0.1:1,127.0.0.1:2/mymaster")
    with pytest.raises(PublishFailed, match=r"no Sentinel names a primary \(127.0.0.1:1: Connection refused") as caught:
        send(broker, "a")
    assert not isinstance(caught.value, PublishUnknown)
    assert "secret" not in str(caught.value)
