"""Queues that Celery shares on Redis: its lists are claimed under our lease, and get back whole what we do not do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus import codec
from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.errors import ConfigError
from taskbus.message import Message
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import message, send
from taskbus.wire import celery, formats
from tests.contract.redis_basis import RedisBasis
from tests.servers.redis_server import RedisServer

GOLDEN = json.loads((Path(__file__).parent.parent / "interop" / "golden" / "messages.json").read_text())
LEASE = 30.0
BINDING = [b"celery\x06\x16\x06\x16celery"]


def theirs(id: str) -> bytes:
    """What a producer of Celery's puts into a list."""
    return GOLDEN["plain"].replace("the-id", id).encode()


def ours(id: str, queue: str = "celery", **fields: Any) -> Message:
    return message(id, queue=queue, **fields)._replace(body=codec.encode_call((), {}))


def at(step: int, queue: str = "celery") -> str:
    return f"{queue}\x06\x16{step}" if step else queue


def read(delivery: Delivery) -> Message:
    return formats.decode(delivery.wire, delivery.queue, delivery.priority, 1 << 20)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [read(each).id for each in deliveries]


class TestCelerysLists(RedisBasis):
    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock()

    @pytest.fixture
    def shared(self, url: str, clock: MovableClock) -> Iterator[Broker]:
        broker = Broker(url, clock=clock, celery_queues=("celery",))
        yield broker
        broker.close()

    @pytest.fixture
    def worker(self, shared: Broker) -> Iterator[Consumer]:
        worker = shared.consumer(["celery"], name="w", lease=LEASE)
        yield worker
        worker.close()

    def push(self, server: RedisServer, *names: str, step: int = 0) -> None:
        for name in names:
            server.cli("LPUSH", at(step), theirs(name))

    def waiting(self, server: RedisServer, step: int = 0) -> list[bytes]:
        """Celery's list, the next one first."""
        return list(reversed(server.cli("LRANGE", at(step), 0, -1)))

    # --- claiming ---

    def test_what_celery_published_is_claimed_in_its_order_and_acked(
        self, server: RedisServer, worker: Consumer
    ) -> None:
        self.push(server, "a", "b", "c")
        found = worker.fetch(2)
        assert ids(found) == ["a", "b"]
        assert [(each.wire, each.content_type, each.queue) for each in found] == [
            (theirs(each), celery.CONTENT_TYPE, "celery") for each in ("a", "b")
        ]
        assert self.waiting(server) == [theirs("c")]
        assert worker.settle([Settlement(each) for each in found], None, shared=False) == []
        assert ids(worker.fetch(9)) == ["c"]

    def test_celerys_step_0_is_served_first(self, server: RedisServer, worker: Consumer) -> None:
        for step in (9, 3, 0, 6):
            self.push(server, f"step-{step}", step=step)
        assert ids(worker.fetch(9)) == ["step-0", "step-3", "step-6", "step-9"]

    def test_ours_and_theirs_come_from_one_queue(self, server: RedisServer, url: str, worker: Consumer) -> None:
        unaware = Broker(url)
        send(unaware, "ours", queue="celery")
        self.push(server, "theirs")
        assert sorted(ids(worker.fetch(9))) == ["ours", "theirs"]
        unaware.close()

    def test_the_lists_of_other_queues_are_left_alone(self, server: RedisServer, shared: Broker) -> None:
        server.cli("LPUSH", "private", theirs("a"))
        other = shared.consumer(["private"], name="o", lease=LEASE)
        assert other.fetch(9) == [] and other.next_due_at() is None
        assert server.cli("LLEN", "private") == 1
        other.close()

    def test_a_worker_looks_again_soon_and_less_often_when_nothing_comes(
        self, server: RedisServer, worker: Consumer, clock: MovableClock
    ) -> None:
        pauses = []
        for _ in range(8):
            assert worker.fetch(1) == []
            due_at = worker.next_due_at()
            assert due_at is not None
            pauses.append(due_at - clock())
        assert pauses[0] == pytest.approx(0.01, abs=1e-4) and pauses[-1] == pytest.approx(0.1, abs=1e-4)
        self.push(server, "a")
        worker.fetch(2)
        assert worker.next_due_at() == pytest.approx(clock() + 0.005, abs=1e-4)

    # --- giving back ---

    def test_what_is_given_back_is_celerys_again_ahead_and_as_it_came(
        self, server: RedisServer, worker: Consumer
    ) -> None:
        self.push(server, "a", "b", "c")
        first, second = worker.fetch(2)
        gone_back = [Settlement(first, Act.RELEASE), Settlement(second, Act.RELEASE)]
        assert worker.settle(gone_back, None, shared=False) == []
        assert self.waiting(server) == [theirs("a"), theirs("b"), theirs("c")]
        assert [(each.crashes, each.losses) for each in worker.fetch(3)] == [(0, 0)] * 3

    def test_a_step_is_kept(self, server: RedisServer, worker: Consumer) -> None:
        self.push(server, "a", step=6)
        (held,) = worker.fetch(1)
        worker.settle([Settlement(held, Act.RELEASE)], None, shared=False)
        assert self.waiting(server, step=6) == [theirs("a")]

    def test_crashes_and_losses_are_counted_though_celery_counts_none(
        self, server: RedisServer, shared: Broker, worker: Consumer, clock: MovableClock
    ) -> None:
        self.push(server, "a")
        (held,) = worker.fetch(1)
        worker.settle([Settlement(held, Act.CRASH)], None, shared=False)
        assert self.waiting(server) == [theirs("a")]
        (held,) = worker.fetch(1)
        assert (held.crashes, held.losses) == (1, 0)
        clock.advance(LEASE + 1)
        other = shared.consumer(["celery"], name="other", lease=LEASE)
        assert other.reap() == 1
        assert self.waiting(server) == [theirs("a")]
        (again,) = other.fetch(1)
        assert (again.crashes, again.losses, again.wire) == (1, 1, theirs("a"))
        assert again.fence > held.fence
        assert other.settle([Settlement(again)], None, shared=False) == []
        assert server.keys("*counts") == []
        other.close()

    def test_what_must_wait_waits_here_and_is_celerys_when_it_is_due(
        self, server: RedisServer, shared: Broker, worker: Consumer, clock: MovableClock
    ) -> None:
        self.push(server, "a")
        (held,) = worker.fetch(1)
        worker.settle([Settlement(held, Act.RELEASE, 60.0)], None, shared=False)
        assert (self.waiting(server), worker.fetch(1)) == ([], [])
        clock.advance(61)
        worker.renew()
        beside = shared.consumer(["celery"], name="full", lease=LEASE)
        self.push(server, "b", "c")
        assert ids(beside.fetch(2)) == ["b", "c"]
        assert self.waiting(server) == [theirs("a")]
        beside.close()

    def test_what_waits_is_celerys_when_the_last_of_ours_leaves(
        self, server: RedisServer, shared: Broker, worker: Consumer
    ) -> None:
        self.push(server, "a", "b")
        held, _ = worker.fetch(2)
        worker.settle([Settlement(held, Act.RELEASE, 60.0)], None, shared=False)
        other = shared.consumer(["celery"], name="other", lease=LEASE)
        other.close()
        assert self.waiting(server) == []
        worker.close()
        assert sorted(self.waiting(server)) == [theirs("a"), theirs("b")]

    # --- publishing ---

    def test_what_we_send_lies_in_celerys_lists_once(self, server: RedisServer, shared: Broker) -> None:
        for priority, step in ((0, 0), (5, 3), (9, 9)):
            shared.publish(ours(f"p{priority}", priority=priority))
            shared.publish(ours(f"p{priority}", priority=priority))
            (wire,) = self.waiting(server, step)
            assert json.loads(wire)["headers"]["id"] == f"p{priority}"
        shared.publish(ours("other", "other"))
        assert server.cli("EXISTS", "other") == 0

    def test_what_we_delay_is_celerys_at_once(self, server: RedisServer, shared: Broker, clock: MovableClock) -> None:
        """Its workers wait for what is in its header; who of ours claims it gives it back until then."""
        shared.publish(ours("later", due_at=clock() + 60))
        (wire,) = self.waiting(server)
        assert celery.decode(wire, "celery", 4096).due_at == pytest.approx(clock() + 60)

    def test_a_retry_is_published_with_the_step_that_takes_the_old_one_away(
        self, server: RedisServer, worker: Consumer
    ) -> None:
        self.push(server, "a")
        (held,) = worker.fetch(1)
        again = read(held)._replace(attempt=2)
        worker.settle([Settlement(held, follow_ups=(again,))], None, shared=False)
        (wire,) = self.waiting(server)
        assert json.loads(wire)["headers"]["retries"] == 1

    def test_the_queue_is_bound_as_celery_binds_it(self, server: RedisServer, shared: Broker) -> None:
        shared.publish(ours("a"))
        assert server.cli("SMEMBERS", "_kombu.binding.celery") == BINDING
        assert server.cli("SMEMBERS", "_kombu.binding_permanent.celery") == BINDING

    # --- looking ---

    def test_celerys_messages_are_counted_shown_and_purged(self, server: RedisServer, shared: Broker) -> None:
        self.push(server, "a", "b")
        self.push(server, "c", step=3)
        (size,) = shared.queues()
        assert (size.name, size.ready) == ("celery", 3)
        assert ids(shared.peek("celery", 9)) == ["a", "b", "c"]
        assert ids(shared.peek("celery", 1)) == ["a"]
        assert shared.purge("celery") == 3
        assert server.cli("EXISTS", at(0), at(3)) == 0


def test_a_cluster_shares_nothing_with_celery() -> None:
    with pytest.raises(ConfigError, match="on a Redis Cluster, which Celery cannot use"):
        Broker("redis+cluster://127.0.0.1:1", celery_queues=("celery",))
