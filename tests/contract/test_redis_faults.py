"""The Redis transport when its server restarts, does not serve, or its replies are lost."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.broker.parcels import to_delivery
from taskbus.broker.transports.port import Opening
from taskbus.broker.transports.redis import settling
from taskbus.broker.transports.redis.claiming import CLAIM
from taskbus.broker.transports.redis.storage import PUBLISH, RedisStorage
from taskbus.database.redis_script import NO_RECORD, joined
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import DEADLINE, acks, fetch_when_there, ids, message, quiet, readable, send
from taskbus.testing.transport_publishing import check_that_publishing_keeps_its_deadline
from tests.contract.redis_basis import TIMEOUT, RedisBasis, settled
from tests.servers.proxy import Proxy, Way
from tests.servers.redis_server import RedisServer
from tests.servers.server import until

SETTLE = joined(NO_RECORD, settling.SETTLE)


class TestRestarts(RedisBasis):
    def test_ten_restarts_in_a_row_lose_nothing_and_each_time_it_goes_on(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        for n in range(10):
            send(broker, f"held{n}", f"waiting{n}")
            held = consumer.fetch(1)
            server.kill()
            with pytest.raises(BrokerError):
                consumer.fetch(1)
            with pytest.raises(PublishFailed):
                send(broker, f"lost{n}")
            server.start()
            assert ids(held) == [f"held{n}"]
            assert settled(consumer, held)
            again = fetch_when_there(consumer, 10)
            assert ids(again) == [f"waiting{n}"]
            assert settled(consumer, again)
            send(broker, f"after{n}")
            assert settled(consumer, fetch_when_there(consumer))

    def test_a_sleeping_consumer_hears_after_a_restart(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        quiet(consumer)
        server.restart()
        assert readable(consumer)  # the end of its connection
        consumer.clear()
        assert consumer.fetch(1) == []
        quiet(consumer)
        send(broker, "a")
        assert ids(fetch_when_there(consumer)) == ["a"]

    def test_killed_connections_are_opened_again_without_a_word(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        for n in range(5):
            send(broker, f"m{n}")
            server.cli("CLIENT", "KILL", "TYPE", "normal")
            server.cli("CLIENT", "KILL", "TYPE", "pubsub")
            deliveries = consumer.fetch(5)
            assert ids(deliveries) == [f"m{n}"]
            server.cli("CLIENT", "KILL", "TYPE", "normal")
            assert settled(consumer, deliveries)
            consumer.renew()
        quiet(consumer)
        server.cli("CLIENT", "KILL", "TYPE", "pubsub")
        server.cli("CLIENT", "KILL", "TYPE", "normal")
        assert readable(consumer)
        consumer.clear()
        assert consumer.fetch(1) == []
        quiet(consumer)
        send(broker, "bell")
        assert readable(consumer)

    def test_work_goes_on_while_connections_are_killed_all_the_time(
        self, server: RedisServer, url: str, consumer: Consumer
    ) -> None:
        """Whatever is killed in between: what was accepted arrives, once."""
        over = threading.Event()

        def kill() -> None:
            while not over.wait(0.02):
                server.cli("CLIENT", "KILL", "TYPE", "normal")
                server.cli("CLIENT", "KILL", "TYPE", "pubsub")

        killer = threading.Thread(target=kill)
        killer.start()
        broker = Broker(url, publish_timeout=TIMEOUT)
        accepted, came = [], []
        try:
            for n in range(300):
                while True:
                    try:
                        send(broker, f"m{n}")
                    except PublishUnknown:
                        continue
                    accepted.append(f"m{n}")
                    break
                came += _taken(consumer)
            deadline = time.monotonic() + DEADLINE
            while len(came) < len(accepted) and time.monotonic() < deadline:
                came += _taken(consumer)
        finally:
            over.set()
            killer.join()
            broker.close()
        assert came == accepted

    def test_scripts_that_were_flushed_are_sent_again(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        for n in range(2):
            server.cli("SCRIPT", "FLUSH")
            send(broker, f"m{n}")
            server.cli("SCRIPT", "FLUSH")
            deliveries = consumer.fetch(5)
            assert ids(deliveries) == [f"m{n}"]
            server.cli("SCRIPT", "FLUSH")
            assert settled(consumer, deliveries)
            server.cli("SCRIPT", "FLUSH")
            consumer.renew()
            assert consumer.reap() == 0


def _taken(consumer: Consumer) -> list[str]:
    """What can be fetched and settled now, trying again whenever the broker fails."""
    while True:
        try:
            deliveries = consumer.fetch(10)
            break
        except BrokerError:
            continue
    while True:
        try:
            assert settled(consumer, deliveries), "stale, though nobody took its lease"
            return ids(deliveries)
        except BrokerError:
            continue


class TestSilence(RedisBasis):
    def test_a_replica_is_waited_for_and_then_told(
        self, server: RedisServer, broker: Broker, consumer: Consumer
    ) -> None:
        send(broker, "a")
        server.cli("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(PublishFailed, match="is a replica and takes no writes"):
            send(broker, "b")
        with pytest.raises(BrokerError, match="replica"):
            consumer.fetch(1)
        timer = threading.Timer(0.3, server.cli, ("REPLICAOF", "NO", "ONE"))
        timer.start()
        send(broker, "c")
        assert ids(consumer.fetch(5)) == ["a", "c"]
        timer.join()

    def test_a_server_that_loads_its_data_is_waited_for(self, tmp_path: Path) -> None:
        slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no")
        server = RedisServer(tmp_path / "slow", "--save", "", "--appendonly", "no", *slow)
        server.start()
        try:
            for n in range(1500):
                server.cli("SET", f"filler{n}", "x" * 3000)
            server.cli("SAVE")
            broker = Broker(server.url, publish_timeout=20)
            send(broker, "before")
            server.kill()
            server.launch()
            until(lambda: _is_loading(server), "it loads")
            impatient = Broker(server.url, publish_timeout=0.8)
            with pytest.raises(PublishFailed, match="still loading"):
                send(impatient, "too early")
            send(broker, "after")
            consumer = broker.consumer(["default"], name="w", lease=30)
            assert ids(consumer.fetch(5)) == ["after"]
            consumer.close()
            broker.close()
        finally:
            server.kill()

    def test_publishing_keeps_its_deadline(self, server: RedisServer, url: str) -> None:
        check_that_publishing_keeps_its_deadline(url, server.pause, server.resume)

    def test_every_call_to_a_silent_server_ends_in_time_and_works_again(
        self, server: RedisServer, url: str, broker: Broker
    ) -> None:
        storage = RedisStorage(Opening(url, timeout=0.4))
        storage.declare_queue("default", expires=None, passive=False)
        watch = storage.watch()
        holder = storage.join("w", ["default"], 30)
        send(broker, "a", "b")
        (first,) = storage.claim(holder, ["default"], 1).claimed
        settlement = [Settlement(to_delivery(first))]
        calls = {
            "claim": lambda: storage.claim(holder, ["default"], 1),
            "settle": lambda: storage.settle(holder, settlement, lambda _: None, None, shared=False),  # type: ignore
            "renew": lambda: storage.renew(holder),
            "reap": storage.reap,
            "sizes": storage.sizes,
            "workers": storage.workers,
            "peek": lambda: storage.peek("default", 5),
            "ping": storage.ping,
            "examine": storage.examine,
            "join": lambda: storage.join("x", ["default"], 30),
        }
        server.pause()
        for name, call in calls.items():
            started = time.monotonic()
            with pytest.raises(BrokerError, match="127"):
                call()
            assert time.monotonic() - started < 0.8, name
        started = time.monotonic()
        assert abs(storage.now() - time.time()) < 5
        assert time.monotonic() - started < 0.4
        server.resume()
        storage.ping()
        # The settle arrived after all, and was executed: nothing is stale.
        assert storage.settle(holder, settlement, lambda _: None, None, shared=False) == []  # type: ignore
        (second,) = storage.claim(holder, ["default"], 5).claimed
        assert second.body != first.body
        storage.leave(holder)
        watch.close()

    def test_a_connection_that_went_silent_for_good_is_given_up(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer
    ) -> None:
        """A half-open socket: nothing comes back and nobody says so."""
        send(far, "a")
        proxy.blackhole(Way.TO_CLIENT)
        with pytest.raises(PublishUnknown, match="same ids"):
            send(far, "b")
        proxy.heal()
        send(far, "b")
        assert ids(far_consumer.fetch(5)) == ["a", "b"]

    def test_a_connection_that_a_firewall_forgot_is_found_out_before_anything_is_entrusted_to_it(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(far, "a")
        monkeypatch.setattr("taskbus.database.redis_link.IDLE", 0.0)
        so_far = proxy.accepted
        proxy.blackhole()  # what was connected hears nothing any more; whoever connects anew is served

        def heal() -> None:
            until(lambda: proxy.accepted > so_far, "somebody connects anew")
            proxy.heal()

        healer = threading.Thread(target=heal)
        healer.start()
        try:
            send(far, "b")
        finally:
            healer.join()
        assert ids(far_consumer.fetch(5)) == ["a", "b"]

    def test_the_time_is_right_however_long_connecting_takes(self, proxy: Proxy, far: Broker) -> None:
        proxy.delay(0.1)
        assert far.now() == pytest.approx(time.time(), abs=0.1)

    def test_only_after_a_silence_is_a_server_asked_whether_it_is_there(
        self, proxy: Proxy, far: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send(far, "a")
        before = proxy.round_trips
        for n in range(5):
            send(far, f"busy{n}")
        busy = proxy.round_trips
        assert busy - before == 5
        monkeypatch.setattr("taskbus.database.redis_link.IDLE", 0.0)
        for n in range(5):
            send(far, f"idle{n}")
        assert proxy.round_trips - busy == 10


def _is_loading(server: RedisServer) -> bool:
    try:
        return b"loading:1" in server.cli("INFO", "persistence")
    except OSError:
        return False


class TestLostReplies(RedisBasis):
    def test_a_publish_whose_reply_is_lost_is_unknown_and_may_be_repeated(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer
    ) -> None:
        send(far, "a")
        proxy.lose_reply(PUBLISH.sha.encode())
        with pytest.raises(PublishUnknown) as caught:
            send(far, "b")
        assert caught.value.task_ids == ("b",)
        send(far, "b")
        assert ids(far_consumer.fetch(5)) == ["a", "b"]

    @pytest.mark.parametrize("offset", [1, 20, 60, 100, 150])
    def test_a_publish_cut_anywhere_is_queued_once_when_it_is_repeated(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer, offset: int
    ) -> None:
        send(far, "a")
        proxy.cut_after(offset, Way.TO_SERVER)
        with pytest.raises(PublishFailed):
            send(far, "b")
        proxy.heal()
        send(far, "b")
        assert ids(far_consumer.fetch(5)) == ["a", "b"]

    def test_what_a_claim_brought_whose_reply_was_lost_comes_with_the_next(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer
    ) -> None:
        send(far, "a", "b", "c", "d")
        (first,) = far_consumer.fetch(1)
        proxy.lose_reply(CLAIM.sha.encode())
        with pytest.raises(BrokerError):
            far_consumer.fetch(2)
        assert ids(far_consumer.fetch(1)) == ["b"]
        rest = [*far_consumer.fetch(1), *far_consumer.fetch(5)]
        assert ids(rest) == ["c", "d"]
        assert [each.losses for each in rest] == [0, 0]
        assert far_consumer.settle(acks([first, *rest]), None, shared=False) == []

    @pytest.mark.parametrize("shared", [False, True])
    def test_a_settle_whose_reply_was_lost_is_not_stale_and_not_done_twice(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer, shared: bool
    ) -> None:
        send(far, "a", "b")
        deliveries = far_consumer.fetch(2)
        settlements = [Settlement(deliveries[0], follow_ups=[message("next")]), Settlement(deliveries[1], Act.CRASH)]
        proxy.lose_reply(SETTLE.sha.encode())
        recorded: list[Any] = []
        assert far_consumer.settle(settlements, lambda changes, _: not recorded.append(changes), shared=shared) == []
        again = far_consumer.fetch(5)
        assert sorted(ids(again)) == ["b", "next"]
        assert sorted(each.crashes for each in again) == [0, 1]

    def test_a_settle_that_stays_unanswered_is_found_out_by_the_next(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer, server: RedisServer
    ) -> None:
        send(far, "a", "b")
        first, second = far_consumer.fetch(2)
        proxy.blackhole(Way.TO_CLIENT)
        started = time.monotonic()
        with pytest.raises(BrokerError):
            far_consumer.settle([Settlement(first, follow_ups=[message("next")])], None, shared=False)
        assert time.monotonic() - started < TIMEOUT * 1.5
        proxy.heal()
        both = [Settlement(first, follow_ups=[message("next")]), Settlement(second)]
        assert far_consumer.settle(both, None, shared=False) == []
        assert ids(far_consumer.fetch(5)) == ["next"]

    def test_a_settle_of_a_holder_that_was_reaped_meanwhile_is_stale(
        self, proxy: Proxy, far: Broker, far_consumer: Consumer, server: RedisServer
    ) -> None:
        send(far, "a")
        (delivery,) = far_consumer.fetch(1)
        proxy.lose_reply(SETTLE.sha.encode())
        proxy.refuse()
        with pytest.raises(BrokerError):
            far_consumer.settle(acks([delivery]), None, shared=False)
        proxy.heal()
        server.cli("FLUSHALL")
        assert far_consumer.settle(acks([delivery]), None, shared=False) == [delivery]
