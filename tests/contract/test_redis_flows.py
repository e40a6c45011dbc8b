"""Flows where broker and store are on Redis: what becomes ready is published by the step that records why."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.database.redis import RedisTransaction
from taskbus.errors import BrokerError, StoreError
from taskbus.store import redis_flows
from taskbus.store.base import Store
from taskbus.store.flows import (
    AddNodes,
    BeginFlow,
    EndNode,
    Flow,
    FlowState,
    Node,
    NodeState,
    ReviveNode,
    Start,
)
from taskbus.store.opening import open_store
from taskbus.testing.records import saved
from taskbus.testing.transport_basis import LEASE, decoded, ids, message, readable, send, waiting
from taskbus.wire import compact
from tests.servers.proxy import Proxy
from tests.servers.redis_server import RedisCluster, RedisServer

AT = 1000.0


@pytest.fixture
def url(server: RedisServer, tmp_path: Path) -> str:
    return f"{server.url}?prefix={tmp_path.name}"


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    with closing(Broker(url)) as broker:
        yield broker


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def worker(broker: Broker) -> Iterator[Consumer]:
    worker = broker.consumer(["default"], name="worker", lease=LEASE)
    yield worker
    worker.close()


def task(id: str, queue: str = "default", **fields: Any) -> Node:
    """A task that is published when it is ready."""
    return Node(id, "task", queue=queue, keeps=True, wire=compact.encode(message(id)), **fields)


def begun(store: Store, *nodes: Node) -> None:
    """A flow of these nodes, whose roots somebody else publishes."""
    given = [node if node.after or node.is_join else node._replace(wire=b"") for node in nodes]
    assert store.apply([BeginFlow(Flow("flow", "", "", AT, 60.0), given)])


def ended(delivery: Delivery, *nodes: str, state: NodeState = NodeState.SUCCESS) -> Settlement:
    """A delivery whose task has ended, by default the one that it is the message of."""
    names = nodes or (decoded(delivery).id,)
    return Settlement(delivery, changes=[EndNode("flow", node, state, AT, node.encode()) for node in names])


# --- one step ---


def test_the_end_of_a_task_publishes_what_follows_in_whatever_queues(
    broker: Broker, store: Store, worker: Consumer, server: RedisServer
) -> None:
    queues = ("default", "slow", "a{b}%c", "")
    begun(store, task("a"), *(task(f"b{n}", queue, after="a", priority=n) for n, queue in enumerate(queues)))
    send(broker, "a", "other")
    a, other = worker.fetch(2)
    worker.settle([Settlement(other, changes=[saved("other")])], store.apply, shared=True)
    server.cli("CONFIG", "RESETSTAT")
    assert worker.settle([ended(a)], store.apply, shared=True) == []
    assert int(server.cli("INFO", "commandstats").count(b"cmdstat_evalsha:")) == 1
    for n, queue in enumerate(queues):
        assert waiting(broker, queue) == [f"b{n}"]
    assert {size.name for size in broker.queues()} >= set(queues)
    with closing(broker.consumer(queues, name="other", lease=LEASE)) as other_worker:
        deliveries = other_worker.fetch(9)
        assert {(each.queue, each.priority) for each in deliveries} == {(queue, n) for n, queue in enumerate(queues)}
        assert [each.crashes for each in deliveries] == [0] * 4


def test_a_body_follows_its_last_member_in_one_script_call(
    broker: Broker, store: Store, worker: Consumer, server: RedisServer
) -> None:
    members = [f"m{place}" for place in range(3)]
    begun(store, Node("g", size=3), *(task(id, join="g", place=n) for n, id in enumerate(members)),
          task("body", after="g", takes=True))  # fmt: skip
    send(broker, *members)
    first, *others = worker.fetch(3)
    assert worker.settle([ended(first)], store.apply, shared=True) == []
    assert waiting(broker) == []
    server.cli("CONFIG", "RESETSTAT")
    assert worker.settle([ended(each) for each in others], store.apply, shared=True) == []
    scripts = [line for line in server.cli("INFO", "commandstats").decode().splitlines() if "cmdstat_eval" in line]
    assert sum(int(line.partition("calls=")[2].partition(",")[0]) for line in scripts) == 1
    (body,) = worker.fetch(9)
    (answer,) = store.begin([Start("flow", decoded(body).id, "", AT)])
    assert isinstance(answer.inputs, list)
    assert [each.value for each in answer.inputs] == [b"m0", b"m1", b"m2"]


def test_a_worker_that_waits_for_it_is_woken(broker: Broker, store: Store, worker: Consumer) -> None:
    begun(store, task("a"), task("b", "slow", after="a"))
    send(broker, "a")
    (a,) = worker.fetch(1)
    with closing(broker.consumer(["slow"], name="sleeper", lease=LEASE)) as sleeper:
        assert sleeper.fetch(1) == [] and sleeper.fetch(1) == []
        sleeper.clear()
        worker.settle([ended(a)], store.apply, shared=True)
        assert readable(sleeper)
        assert ids(sleeper.fetch(1)) == ["b"]


def test_what_is_due_later_waits_for_that(broker: Broker, store: Store, worker: Consumer) -> None:
    due_at = worker.now() + 3600
    begun(store, task("a"), task("b", after="a", due_at=due_at), task("c", after="a", due_at=5.0))
    send(broker, "a")
    (a,) = worker.fetch(1)
    worker.settle([ended(a)], store.apply, shared=True)
    assert ids(worker.fetch(9)) == ["c"]
    assert worker.next_due_at() == pytest.approx(due_at, abs=0.01)


def test_thousands_may_follow_one(broker: Broker, store: Store, worker: Consumer) -> None:
    begun(store, task("a"), *(task(f"b{n}", after="a") for n in range(3000)))
    send(broker, "a")
    (a,) = worker.fetch(1)
    assert worker.settle([ended(a)], store.apply, shared=True) == []
    assert ids(worker.fetch(3001)) == [f"b{n}" for n in range(3000)]


def test_beginning_a_flow_and_publishing_its_first_tasks_is_one_step(broker: Broker, store: Store) -> None:
    nodes = [task("a")._replace(wire=b""), task("b", after="a")]
    begin = BeginFlow(Flow("flow", "", "b", AT, 60.0), nodes)
    assert broker.transact(Settlement(None, follow_ups=[message("a")], changes=[begin]), store.apply, shared=True)
    assert waiting(broker) == ["a"]
    view = store.flow("flow")
    assert view is not None and view.state is FlowState.RUNNING


def test_a_replayed_task_is_published_by_whoever_revives_it(broker: Broker, store: Store, worker: Consumer) -> None:
    begun(store, task("a"), task("b", after="a"))
    send(broker, "a")
    (a,) = worker.fetch(1)
    worker.settle([ended(a, state=NodeState.FAILURE)], store.apply, shared=True)
    replay = Settlement(None, follow_ups=[message("a")], changes=[ReviveNode("flow", "a", is_sent=True)])
    assert broker.transact(replay, store.apply, shared=True)
    (a,) = worker.fetch(9)
    worker.settle([ended(a)], store.apply, shared=True)
    assert waiting(broker) == ["b"]


def test_what_is_not_held_any_more_ends_nothing(broker: Broker, store: Store, worker: Consumer) -> None:
    begun(store, task("a"), task("b"), task("c", after="a"), task("d", after="b"))
    send(broker, "a", "b")
    a, b = worker.fetch(2)
    worker.settle([Settlement(a, Act.RELEASE)], None, shared=True)
    assert worker.settle([ended(a), ended(b)], store.apply, shared=True) == [a]
    assert sorted(ids(worker.fetch(9))) == ["a", "d"]
    assert [view.state for view in store.nodes("flow", limit=2)] == [NodeState.READY, NodeState.SUCCESS]


def test_a_refused_change_settles_and_publishes_nothing(broker: Broker, store: Store, worker: Consumer) -> None:
    begun(store, task("a"), task("b", after="a"))
    send(broker, "a")
    (a,) = worker.fetch(1)
    refused = [saved("a"), *ended(a).changes, AddNodes("missing", [task("x")])]
    with pytest.raises(StoreError, match="refused a change"):
        worker.settle([Settlement(a, changes=refused)], store.apply, shared=True)
    assert (waiting(broker), store.results(["a"])) == ([], {})
    assert worker.settle([ended(a)], store.apply, shared=True) == []
    assert waiting(broker) == ["b"]


def test_a_step_that_fails_leaves_all_as_it_was(
    broker: Broker, store: Store, worker: Consumer, server: RedisServer, tmp_path: Path
) -> None:
    """Something of another program is where the flow should be."""
    send(broker, "a")
    (a,) = worker.fetch(1)
    server.cli("SET", f"{tmp_path.name}:flow:{{flow}}", "foreign")
    settlement = Settlement(a, follow_ups=[message("next")], changes=[saved("a"), *ended(a).changes])
    with pytest.raises(BrokerError, match="prefix="):
        worker.settle([settlement], store.apply, shared=True)
    assert (waiting(broker), store.results(["a"])) == ([], {})


def test_flows_go_on_though_memory_is_used_up(
    broker: Broker, store: Store, worker: Consumer, server: RedisServer
) -> None:
    begun(store, task("a"), task("b", after="a", takes=True))
    send(broker, "a")
    (a,) = worker.fetch(1)
    server.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        assert store.begin([Start("flow", "a", "", AT)])[0].verdict == "run"
        assert worker.settle([ended(a)], store.apply, shared=True) == []
        assert ids(worker.fetch(1)) == ["b"]
        assert store.begin([Start("flow", "b", "", AT)])[0].verdict == "run"
    finally:
        server.cli("CONFIG", "SET", "maxmemory", "0")


def test_a_lost_reply_publishes_once(server: RedisServer, tmp_path: Path) -> None:
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?prefix={tmp_path.name}"
        with closing(Broker(url)) as broker, closing(open_store(url)) as store:
            worker = broker.consumer(["default"], name="worker", lease=LEASE)
            begun(store, task("warm"), task("a"), task("b", after="a"))
            send(broker, "warm", "a")
            warm, a = worker.fetch(2)
            worker.settle([ended(warm)], store.apply, shared=True)
            end = EndNode("flow", "a", NodeState.SUCCESS, AT, b"finished-by-a")
            lost = proxy.lose_reply(b"finished-by-a")
            assert worker.settle([Settlement(a, changes=[end])], store.apply, shared=True) == []
            assert lost.is_over
            assert ids(worker.fetch(9)) == ["b"]
            worker.close()


def test_a_step_without_flows_carries_nothing_of_them(store: Store) -> None:
    plain, flow = RedisTransaction(), RedisTransaction()
    store.apply([saved("a")], plain)
    store.apply([saved("a"), EndNode("flow", "a", NodeState.SUCCESS, AT)], flow)
    assert "flow" not in plain.fragment
    assert flow.fragment == redis_flows.FRAGMENT


# --- several steps ---


@pytest.fixture
def apart(server: RedisServer, tmp_path: Path) -> Iterator[Store]:
    """A store that shares no step with the broker."""
    with closing(open_store(f"{server.url}?prefix={tmp_path.name}-store")) as store:
        yield store


@pytest.fixture
def wide(cluster: RedisCluster) -> Iterator[tuple[Broker, Store]]:
    """Broker and store on a Cluster."""
    cluster.flush()
    with closing(Broker(cluster.url)) as broker, closing(open_store(cluster.url)) as store:
        yield broker, store


def test_elsewhere_what_is_ready_is_published_with_the_acks(broker: Broker, apart: Store, worker: Consumer) -> None:
    begun(apart, task("a"), task("b", after="a"), task("c", "slow", after="a", due_at=worker.now() + 3600))
    send(broker, "a")
    (a,) = worker.fetch(1)
    assert worker.settle([ended(a)], apart.apply, shared=False) == []
    assert waiting(broker) == ["b"]
    assert {size.name: size.delayed for size in broker.queues()}["slow"] == 1


def test_elsewhere_a_crash_after_the_record_publishes_it_when_the_task_comes_again(
    broker: Broker, apart: Store, worker: Consumer
) -> None:
    begun(apart, task("a"), task("b", after="a"))
    send(broker, "a")
    (a,) = worker.fetch(1)
    apart.apply(ended(a).changes)
    worker.settle([Settlement(a, Act.RELEASE)], None, shared=False)
    (a,) = worker.fetch(1)
    assert apart.begin([Start("flow", "a", "", AT)])[0].verdict == "ended"
    assert worker.settle([ended(a, state=NodeState.FAILURE)], apart.apply, shared=False) == []
    assert waiting(broker) == ["b"]


def test_elsewhere_a_delivery_that_turns_out_stale_keeps_nothing_back(
    broker: Broker, apart: Store, worker: Consumer
) -> None:
    """It is lost between the record and the step: what the record made ready is published all the same."""
    begun(apart, task("a"), task("b", after="a"))
    send(broker, "a")
    (a,) = worker.fetch(1)

    def record(changes: Any, transaction: Any) -> Any:
        recorded = apart.apply(changes, transaction)
        worker.settle([Settlement(a, Act.RELEASE)], None, shared=False)
        return recorded

    assert worker.settle([ended(a)], record, shared=False) == [a]
    assert sorted(ids(worker.fetch(9))) == ["a", "b"]


def test_on_a_cluster_what_is_ready_is_published_before_the_ack(wide: tuple[Broker, Store]) -> None:
    broker, store = wide
    queues = [f"q{number}" for number in range(6)]
    begun(store, task("a"), *(task(f"b-{queue}", queue, after="a") for queue in queues))
    worker = broker.consumer(["default"], name="worker", lease=LEASE)
    send(broker, "a")
    (a,) = worker.fetch(1)
    assert worker.settle([ended(a)], store.apply, shared=False) == []
    assert [waiting(broker, queue) for queue in queues] == [[f"b-{queue}"] for queue in queues]
    assert waiting(broker) == []
    worker.close()


def test_on_a_cluster_one_step_begins_the_tasks_of_each_flow(wide: tuple[Broker, Store]) -> None:
    _, store = wide
    flows = [f"flow{number}" for number in range(20)]
    store.apply([BeginFlow(Flow(flow, "", "", AT, 60.0), [Node("a", "task"), Node("b", "task")]) for flow in flows])
    starts = [Start(flow, node, "", AT) for node in "axb" for flow in flows]
    verdicts = [begun.verdict.value for begun in store.begin(starts)]
    assert verdicts == ["run"] * 20 + ["unknown"] * 20 + ["run"] * 20
    assert sorted(view.flow.id for view in store.flows(limit=50)) == sorted(flows)
