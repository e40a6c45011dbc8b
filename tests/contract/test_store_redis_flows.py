"""What the store in Redis promises of flows beside the contract: large ones, those that are over, and what is left."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.errors import StoreError
from taskbus.store import redis_flow_changes
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
from taskbus.store.redis import RedisStore
from taskbus.store.redis_flows import PAGE
from taskbus.store.redis_records import packing
from taskbus.testing.clock import MovableClock
from taskbus.testing.records import FAILURE, eventually
from tests.servers.proxy import Proxy
from tests.servers.redis_server import RedisServer


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    server.cli("FLUSHALL")
    with closing(open_store(server.url)) as store:
        assert isinstance(store, RedisStore)
        yield store


def chord(count: int, flow_id: str = "flow", ttl: float = 60.0, sent_at: float = 1.0) -> BeginFlow:
    """So many members, and a task that is given their values."""
    members = [Node(f"m{place}", "member", join="g", place=place, keeps=True) for place in range(count)]
    body = Node("body", "body", after="g", queue="q", wire=b"wire of body", takes=True)
    return BeginFlow(Flow(flow_id, "", "body", sent_at, ttl), [Node("g", size=count), *members, body])


def ends(*nodes: str, flow_id: str = "flow", state: NodeState = NodeState.SUCCESS) -> list[EndNode]:
    failure = FAILURE if state is NodeState.FAILURE else None
    return [EndNode(flow_id, node, state, 2.0, node.encode(), "msgpack", failure) for node in nodes]


def counts(store: RedisStore) -> dict[NodeState, int]:
    view = store.flow("flow")
    assert view is not None
    return dict(view.counts)


# --- large ones ---


def test_a_chord_of_ten_thousand(server: RedisServer, store: RedisStore) -> None:
    server.cli("CONFIG", "SET", "slowlog-log-slower-than", 0)
    server.cli("SLOWLOG", "RESET")
    store.apply([chord(10_000)])
    assert len(server.cli("SLOWLOG", "GET", 100)) >= 6, "its nodes come in parts"
    assert counts(store) == {NodeState.READY: 10_000, NodeState.WAITING: 1}
    members = [f"m{place}" for place in range(10_000)]
    for start in range(0, 10_000, 1000):
        recorded = store.apply(ends(*members[start : start + 1000]))
        assert recorded is not None and len(recorded.ready) == (start == 9000)
    (begun,) = store.begin([Start("flow", "body", "", 3.0)])
    assert isinstance(begun.inputs, list)
    assert [each.value.decode() for each in begun.inputs] == members
    assert len(store.nodes("flow", limit=20_000)) == 10_002


def test_parts_of_a_large_flow_show_to_nobody_and_go_if_it_is_not_begun(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_flow_changes, "AT_ONCE", 10)
    *parts, last = redis_flow_changes.pack_begin(chord(100), packing())
    assert len(parts) > 5
    for part in parts:
        store._apply([part], None)
    assert (store.flow("flow"), store.nodes("flow", limit=9), store.flows(limit=9)) == (None, [], [])
    assert store.begin([Start("flow", "m1", "", 1.0)])[0].verdict == "unknown"
    assert all(0 < server.cli("TTL", key) <= redis_flow_changes.KEPT_BEFORE for key in server.keys("*"))
    store.apply([chord(100)])
    assert counts(store) == {NodeState.READY: 100, NodeState.WAITING: 1}
    assert all(server.cli("TTL", key) > 1e9 for key in server.keys("*:flow:*"))
    store._apply([last], None)


def test_a_large_flow_whose_parts_are_gone_is_not_begun(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_flow_changes, "AT_ONCE", 10)
    *_, last = redis_flow_changes.pack_begin(chord(100), packing())
    with pytest.raises(StoreError, match="are gone"):
        store._apply([last], None)
    assert store.flow("flow") is None and server.keys() == []


def test_a_large_flow_that_is_there_is_left_alone(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_flow_changes, "AT_ONCE", 10)
    store.apply([chord(100)])
    store.apply(ends("m0", "m1"))
    store.apply([chord(100)])
    assert counts(store) == {NodeState.READY: 98, NodeState.SUCCESS: 2, NodeState.WAITING: 1}


def test_a_group_of_none_in_a_large_flow_ends_at_once(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_flow_changes, "AT_ONCE", 3)
    nodes = [*(Node(f"x{number}", "task") for number in range(9)), Node("g"), chord(0).nodes[-1]]
    recorded = store.apply([BeginFlow(Flow("flow", "", "", 1.0, 60.0), nodes)])
    assert recorded is not None and [sealed.wire for sealed in recorded.ready] == [b"wire of body"]


# --- what is over ---


def test_redis_itself_deletes_a_flow_that_is_over(server: RedisServer, store: RedisStore) -> None:
    store.apply([chord(2, ttl=0.5), chord(2, "long")])
    store.apply(ends("m0", "m1"))
    store.apply(ends("body"))
    assert store.flow("flow") is not None
    eventually(lambda: store.flow("flow") is None, "the end of the flow")
    assert store.begin([Start("flow", "m0", "", 1.0)])[0].verdict == "unknown"
    assert [view.flow.id for view in store.flows(limit=9)] == ["long"]
    assert server.cli("ZCARD", "taskbus:flows:{index}") == 1
    assert not [key for key in server.keys("*{flow}*")]


def test_the_index_forgets_flows_that_are_gone_also_if_nobody_lists_them(
    server: RedisServer, store: RedisStore
) -> None:
    store.apply([chord(0, f"flow{number}") for number in range(PAGE + 100)])
    for number in range(0, PAGE + 100, 2):
        server.cli("DEL", f"taskbus:flow:{{flow{number}}}")
    assert [store.sweep(time.time()) for _ in range(2)] == [0, 0]
    assert server.cli("ZCARD", "taskbus:flows:{index}") == (PAGE + 100) / 2


def test_a_flow_that_goes_on_is_kept(server: RedisServer, store: RedisStore) -> None:
    store.apply([chord(1, ttl=50.0)])
    store.apply(ends("m0", state=NodeState.FAILURE))
    assert 0 < server.cli("TTL", "taskbus:flow:{flow}:nodes") <= 50
    store.apply([ReviveNode("flow", "m0", is_sent=True)])
    view = store.flow("flow")
    assert view is not None and view.state is FlowState.RUNNING
    assert all(server.cli("TTL", key) > 1e9 for key in server.keys("*:flow:*"))


def test_a_flow_that_is_over_by_a_passed_clock_may_be_begun_anew(server: RedisServer, tmp_path: Path) -> None:
    clock = MovableClock()
    with closing(open_store(f"{server.url}?prefix={tmp_path.name}", clock)) as store:
        store.apply([chord(2, ttl=10.0)])
        store.apply(ends("m0", "m1"))
        store.apply(ends("body"))
        clock.advance(10.0)
        assert (store.flow("flow"), store.nodes("flow", limit=9), store.flows(limit=9)) == (None, [], [])
        assert store.apply(ends("m0")) is not None
        store.apply([chord(1)])
        assert len(store.nodes("flow", limit=9)) == 3


def test_the_pages_of_a_flow_that_grows_have_every_node_once(server: RedisServer, store: RedisStore) -> None:
    store.apply([chord(10)])
    first = store.nodes("flow", limit=5)
    store.apply([BeginFlow(Flow("other", "", "", 1.0, 1.0), [])])
    rest = store.nodes("flow", limit=50, after=first[-1].node.id)
    ids = [view.node.id for view in (*first, *rest)]
    assert ids == sorted(["body", "g", *(f"m{number}" for number in range(10))])
    assert 0 < server.cli("TTL", "taskbus:flow:{flow}:order") <= 60


# --- faults ---


def test_a_lost_reply_is_asked_for_again_with_what_is_ready(server: RedisServer, tmp_path: Path) -> None:
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?prefix={tmp_path.name}"
        with closing(open_store(url)) as store:
            store.apply([chord(1)])
            store.apply(ends("missing"))
            lost = proxy.lose_reply(b"value-of-m0")
            recorded = store.apply([EndNode("flow", "m0", NodeState.SUCCESS, 2.0, b"value-of-m0")])
            assert lost.is_over
            assert recorded is not None and [sealed.wire for sealed in recorded.ready] == [b"wire of body"]


def test_what_cannot_be_written_is_an_error_and_nothing_is(store: RedisStore) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        store.apply([chord(1), AddNodes("flow", [Node("x", "task", after="y" * 70_000)])])
    assert store.flow("flow") is None
