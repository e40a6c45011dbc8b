"""The Redis transport on a full server, under the hands of operators, and what it leaves behind."""

import gc
import os
import re
import threading
import time
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.errors import BrokerError, LeaseLost, PublishFailed
from taskbus.testing.transport_basis import acks, fetch_when_there, ids, message, quiet, send
from tests.contract.redis_basis import RedisBasis, settled
from tests.servers.redis_server import RedisServer
from tests.servers.server import until


class TestMemory(RedisBasis):
    def test_a_full_server_refuses_tasks_and_lets_work_be_finished(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        send(broker, "a", "b", "c", "d")
        held = consumer.fetch(3)
        server.cli("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(PublishFailed, match="has used up its memory"):
            send(broker, "e")
        with pytest.raises(PublishFailed, match="maxmemory"), broker.batch():
            send(broker, "f", "g")
        consumer.renew()
        settlements = [
            Settlement(held[0], follow_ups=[message("next", queue="new")]),
            Settlement(held[1], Act.CRASH),
            Settlement(held[2], Act.RELEASE, 60),
        ]
        assert consumer.settle(settlements, None, shared=False) == []
        rest = consumer.fetch(5)
        assert ids(rest) == ["b", "d"]
        assert settled(consumer, rest)
        other = broker.consumer(["default"], name="late", lease=30)
        other.close()
        assert consumer.reap() == 0
        server.cli("CONFIG", "SET", "maxmemory", "0")
        send(broker, "e")
        assert ids(consumer.fetch(5)) == ["e"]
        assert [(size.name, size.ready, size.delayed) for size in broker.queues()] == [("default", 0, 1), ("new", 1, 0)]


class TestOperators(RedisBasis):
    def test_everything_flushed_makes_workers_join_again(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        send(broker, "a", "b")
        held = consumer.fetch(1)
        server.cli("FLUSHALL")
        assert consumer.settle(acks(held), None, shared=False) == held
        for use in (consumer.renew, lambda: consumer.fetch(1)):
            with pytest.raises(LeaseLost):
                use()
        consumer.rejoin()
        assert consumer.fetch(1) == []
        send(broker, "c")
        assert ids(fetch_when_there(consumer)) == ["c"]
        assert [worker.name for worker in broker.workers()] == ["w"]
        assert [size.name for size in broker.queues()] == ["default"]

    def test_a_wrong_password_is_told_without_it(self, tmp_path: Path) -> None:
        server = RedisServer(tmp_path, password="right")
        server.start()
        try:
            wrong = server.url.replace("right", "sesame!")
            for url, says in (
                (wrong, "does not know this user or password"),
                (server.url.replace(":right@", ""), "wants"),
            ):
                broker = Broker(url)
                with pytest.raises(PublishFailed, match=says) as caught:
                    send(broker, "a")
                with pytest.raises(BrokerError, match=says):
                    broker.ping()
                assert "sesame" not in str(caught.value) + repr(caught.value.__cause__) + broker.safe_url
            right = Broker(server.url)
            send(right, "a")
            assert "right" not in right.safe_url
            right.close()
        finally:
            server.kill()

    def test_nothing_listens_is_told_at_once(self, tmp_path: Path) -> None:
        broker = Broker("redis://:secret@127.0.0.1:1/0")
        started = time.monotonic()
        with pytest.raises(PublishFailed, match=r"cannot connect to redis://:\*\*\*@127.0.0.1:1/0: Connection refused"):
            send(broker, "a")
        assert time.monotonic() - started < 1


class TestLeftovers(RedisBasis):
    def test_a_worker_that_went_leaves_nothing_behind(self, server: RedisServer, url: str, broker: Broker) -> None:
        prefix = url.partition("prefix=")[2]
        send(broker, "a")
        before = [key for key in server.keys("*") if ":ids:" not in key]
        for _ in range(3):
            consumer = broker.consumer(["default"], name="w", lease=30)
            deliveries = consumer.fetch(1)
            assert consumer.settle([Settlement(deliveries[0], Act.RELEASE)], None, shared=False) == []
            consumer.close()
        after = [key for key in server.keys("*") if ":ids:" not in key]
        assert set(after) - set(before) == {f"{prefix}:{{default}}:fence"}
        assert server.cli("PUBSUB", "CHANNELS") == []

    def test_a_worker_has_one_connection_in_all(self, server: RedisServer, url: str) -> None:
        def connections() -> int:
            return server.cli("CLIENT", "LIST").count(b"name=taskbus")

        gc.collect()  # those of tests before
        before = connections()
        broker = Broker(url)
        consumer = broker.consumer(["default"], name="w", lease=30)
        broker.now()
        broker.ping()
        quiet(consumer)
        send(broker, "a")
        assert ids(fetch_when_there(consumer)) == ["a"]
        assert connections() == before + 1
        thread = threading.Thread(target=send, args=(broker, "b"))
        thread.start()
        thread.join()
        until(lambda: connections() == before + 1, "the connection of a thread ends with it")
        consumer.close()
        broker.close()

    def test_a_child_of_a_fork_has_a_connection_of_its_own(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        send(broker, "before")
        pid = os.fork()
        if not pid:
            status = 1
            try:
                send(broker, "child")
                other = broker.consumer(["default"], name="child", lease=30)
                status = 0 if ids(other.fetch(1)) == ["before"] else 2
                other.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert ids(fetch_when_there(consumer, 5)) == ["before", "child"]


class TestExamination(RedisBasis):
    @pytest.mark.parametrize(
        ("settings", "weight", "says"),
        [
            ({"appendonly": "yes", "appendfsync": "always"}, "fine", "AOF always: .*power cut; a failover"),
            ({"appendonly": "yes", "appendfsync": "everysec"}, "risk", "AOF everysec: .*loses 1 to 2 s"),
            ({"appendonly": "yes", "appendfsync": "no"}, "risk", "up to 30 s"),
            ({"appendonly": "no"}, "risk", "no AOF: "),
        ],
    )
    def test_the_durability_that_applies_is_told(
        self, server: RedisServer, broker: Broker, settings: dict[str, str], weight: str, says: str
    ) -> None:
        try:
            for name, value in settings.items():
                server.cli("CONFIG", "SET", name, value)
            (remark,) = [remark for remark in broker.examine() if remark.subject == "durability"]
        finally:
            server.cli("CONFIG", "SET", "appendonly", "yes")
            server.cli("CONFIG", "SET", "appendfsync", "always")
        assert remark.weight == weight
        assert re.search(says, remark.text), remark.text

    def test_an_eviction_policy_that_drops_tasks_is_refused(self, server: RedisServer, broker: Broker) -> None:
        weights = {}
        for policy in ("noeviction", "allkeys-lru", "volatile-ttl"):
            server.cli("CONFIG", "SET", "maxmemory-policy", policy)
            (remark,) = [remark for remark in broker.examine() if remark.subject == "eviction"]
            weights[policy] = remark.weight.value
        assert weights == {"noeviction": "fine", "allkeys-lru": "refused", "volatile-ttl": "refused"}
