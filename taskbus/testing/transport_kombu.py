"""The part of the transport contract about kombu: exchanges, and the calls that kombu's own objects make."""

# mypy: allow-untyped-calls
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.entities import Connection, Exchange, KombuConsumer, Producer, Queue
from taskbus.errors import BrokerError, LeaseLost, PublishFailed
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import LEASE, Basis, message, needs_leases, needs_lists, send, waiting

Received = list[tuple[Any, Any]]


class KombuContract(Basis):
    """Direct, fanout and topic exchanges; get, consume, ack, reject, requeue; everything a message carries."""

    @pytest.fixture
    def connection(self, broker: Broker) -> Iterator[Connection]:
        connection = broker.connection()
        yield connection
        connection.release()

    @pytest.fixture
    def producer(self, connection: Connection) -> Producer:
        return Producer(connection)

    # --- exchanges ---

    def test_a_direct_exchange_routes_by_the_whole_key(self, connection: Connection, producer: Producer) -> None:
        exchange = Exchange("orders", "direct")
        queues = [Queue(f"q-{key}", exchange, key, channel=connection) for key in ("red", "blue")]
        for queue in queues:
            queue.declare()
        producer.publish("r", exchange=exchange, routing_key="red")
        producer.publish("b", exchange=exchange, routing_key="blue")
        producer.publish("lost", exchange=exchange, routing_key="redd")
        assert [drain(queue) for queue in queues] == [["r"], ["b"]]

    def test_a_fanout_exchange_gives_each_bound_queue_a_copy(self, connection: Connection, producer: Producer) -> None:
        exchange = Exchange("news", "fanout")
        queues = [Queue(f"reader-{n}", exchange, channel=connection) for n in range(3)]
        for queue in queues:
            queue.declare()
        queues[2].unbind_from(exchange)
        producer.publish({"n": 1}, exchange=exchange, routing_key="whatever")
        assert [drain(queue) for queue in queues] == [[{"n": 1}], [{"n": 1}], []]

    @pytest.mark.parametrize(
        ("binding", "matches", "misses"),
        [
            ("task.*", ["task.sent", "task."], ["task", "task.sent.now", "other.sent"]),
            ("task.#", ["task", "task.sent", "task.a.b.c"], ["tasks", "a.task"]),
            ("#", ["", "a", "a.b"], []),
            ("*.orange.*", ["quick.orange.rabbit"], ["orange", "a.orange", "a.b.orange.c"]),
            ("lazy.#.fox", ["lazy.fox", "lazy.a.fox", "lazy.a.b.fox"], ["lazy.fox.a", "lazy"]),
            ("a+b.c", ["a+b.c"], ["aab.c", "a+b-c"]),
        ],
    )
    def test_a_topic_exchange_routes_by_words(
        self, connection: Connection, producer: Producer, binding: str, matches: list[str], misses: list[str]
    ) -> None:
        exchange = Exchange("topics", "topic")
        queue = Queue("listener", exchange, binding, channel=connection)
        queue.declare()
        for key in matches + misses:
            producer.publish(f"to {key}", exchange=exchange, routing_key=key)
        assert drain(queue) == [f"to {key}" for key in matches]

    def test_two_bindings_of_a_queue_bring_one_copy(self, connection: Connection, producer: Producer) -> None:
        exchange = Exchange("topics", "topic")
        queue = Queue("listener", exchange, "a.#", channel=connection)
        queue.declare()
        queue.bind_to(exchange, "#.b")
        producer.publish("once", exchange=exchange, routing_key="a.b")
        assert drain(queue) == ["once"]

    def test_publishing_to_an_exchange_that_is_not_there_is_an_error(self, connection: Connection) -> None:
        producer = Producer(connection, auto_declare=False)
        with pytest.raises(PublishFailed, match="'nowhere'"):
            producer.publish("x", exchange="nowhere", routing_key="x")

    def test_an_exchange_keeps_its_type(self, connection: Connection) -> None:
        Exchange("news", "fanout", channel=connection).declare()
        Exchange("news", "fanout", channel=connection).declare()
        with pytest.raises(BrokerError, match="'fanout'"):
            Exchange("news", "topic", channel=connection).declare()
        with pytest.raises(BrokerError, match="headers"):
            Exchange("other", "headers", channel=connection).declare()

    def test_a_deleted_exchange_is_not_there_any_more(self, connection: Connection) -> None:
        exchange = Exchange("news", "fanout", channel=connection)
        queue = Queue("q", exchange, channel=connection)
        queue.declare()
        exchange.delete(if_unused=True)
        exchange.declare(passive=True)
        exchange.delete()
        with pytest.raises(BrokerError, match="'news'"):
            exchange.declare(passive=True)

    def test_a_batch_reaches_exchanges_and_queues_together(self, connection: Connection, producer: Producer) -> None:
        exchange = Exchange("news", "fanout", channel=connection)
        queues = [Queue(name, exchange, channel=connection) for name in ("a", "b")]
        for queue in queues:
            queue.declare()
        with producer.batch():
            producer.publish(1, exchange=exchange)
            producer.publish(2, routing_key="a")
            assert drain(queues[0]) == []
        assert [drain(queue) for queue in queues] == [[1, 2], [1]]

    # --- what a message carries ---

    def test_properties_and_headers_come_back_as_they_were_sent(
        self, connection: Connection, producer: Producer
    ) -> None:
        headers = {"id": "1", "argsrepr": "(żółw,)", "nested": {"n": [1, 2.5, None, True]}, "raw": b"\x00\xff"}
        producer.publish(
            b"\x00body\xff", routing_key="celery", content_type="application/x-thing", content_encoding="binary",
            headers=headers, correlation_id="c", reply_to="r", priority=3, expiration=60, delivery_mode=1,
        )  # fmt: skip
        received = Queue("celery", channel=connection).get()
        assert received is not None
        assert (received.body, received.content_type, received.content_encoding) == (
            b"\x00body\xff",
            "application/x-thing",
            "binary",
        )
        assert received.headers == headers
        carried = {"correlation_id": "c", "reply_to": "r", "priority": 3, "expiration": "60000", "delivery_mode": 1}
        assert received.properties.items() >= carried.items()
        assert received.delivery_info["routing_key"] == "celery"

    def test_a_header_that_cannot_travel_is_an_error(self, producer: Producer) -> None:
        with pytest.raises(PublishFailed, match="header"):
            producer.publish("x", routing_key="q", headers={"odd": object()})

    def test_a_foreign_message_reaches_a_worker_with_its_content_type(self, broker: Broker, producer: Producer) -> None:
        producer.publish({"a": 1}, routing_key="default", serializer="json")
        consumer = broker.consumer(["default"], name="w", lease=LEASE)
        (delivery,) = consumer.fetch(1)
        assert (delivery.content_type, delivery.wire) == ("application/json", b'{"a": 1}')
        consumer.close()

    def test_a_message_of_ours_is_an_ordinary_message_to_kombu(self, broker: Broker, connection: Connection) -> None:
        sent = message("a", priority=5)
        broker.publish(sent)
        received = Queue("default", channel=connection).get(no_ack=True)
        assert received is not None
        assert (received.content_type, received.properties["priority"]) == ("application/x-taskbus", 5)
        assert waiting(broker) == []

    def test_a_due_time_given_to_kombu_is_kept(
        self, connection: Connection, producer: Producer, clock: MovableClock
    ) -> None:
        producer.publish("later", routing_key="q", due_at=clock() + 5 * self.unit)
        queue = Queue("q", channel=connection)
        assert drain(queue) == []
        clock.advance(5 * self.unit)
        assert drain(queue) == ["later"]

    # --- getting and settling ---

    def test_get_acks_rejects_and_requeues_one_at_a_time(self, connection: Connection, producer: Producer) -> None:
        queue = Queue("q", channel=connection)
        queue.declare()
        assert queue.get() is None
        for n in range(3):
            producer.publish(n, routing_key="q")
        messages = [queue.get() for _ in range(3)]
        assert queue.get() is None
        messages[0].ack()
        messages[1].reject()
        messages[2].requeue()
        assert drain(queue) == [2]

    def test_acking_up_to_a_message_acks_those_before_it(self, connection: Connection, producer: Producer) -> None:
        queue = Queue("q", channel=connection)
        for n in range(3):
            producer.publish(n, routing_key="q")
        messages = [queue.get() for _ in range(3)]
        messages[1].ack(multiple=True)
        messages[2].channel.basic_recover(requeue=True)
        assert drain(queue) == [2]

    def test_a_consumer_is_called_and_waits_no_longer_than_told(
        self, connection: Connection, producer: Producer
    ) -> None:
        received: Received = []
        with KombuConsumer(connection, [Queue("q")], callbacks=[keep(received)]):
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.01)
            producer.publish("a", routing_key="q")
            connection.drain_events(timeout=20)
        assert [body for body, _ in received] == ["a"]
        received[0][1].ack()
        assert drain(Queue("q", channel=connection)) == []

    def test_a_consumer_takes_no_more_than_its_prefetch(self, connection: Connection, producer: Producer) -> None:
        received: Received = []
        for n in range(5):
            producer.publish(n, routing_key="q")
        with KombuConsumer(connection, [Queue("q")], callbacks=[keep(received)], prefetch_count=2):
            connection.drain_events(timeout=20)
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.01)
            assert [body for body, _ in received] == [0, 1]
            received[0][1].ack()
            connection.drain_events(timeout=20)
        assert [body for body, _ in received] == [0, 1, 2]

    def test_a_consumer_without_acks_takes_for_good(self, connection: Connection, producer: Producer) -> None:
        received: Received = []
        producer.publish("a", routing_key="q")
        with KombuConsumer(connection, [Queue("q")], callbacks=[keep(received)], no_ack=True):
            connection.drain_events(timeout=20)
            received[0][1].ack()
        connection.release()
        assert [body for body, _ in received] == ["a"]
        assert drain(Queue("q", channel=connection)) == []

    def test_what_a_closed_channel_did_not_ack_is_delivered_again(self, broker: Broker, producer: Producer) -> None:
        producer.publish("a", routing_key="q")
        with broker.connection() as first:
            assert Queue("q", channel=first).get() is not None
            with broker.connection() as second:
                assert Queue("q", channel=second).get() is None
        with broker.connection() as third:
            assert drain(Queue("q", channel=third)) == ["a"]

    def test_what_a_dead_channel_held_comes_back_and_its_ack_is_refused(
        self, broker: Broker, connection: Connection, producer: Producer, clock: MovableClock
    ) -> None:
        needs_leases(broker)
        producer.publish("a", routing_key="q")
        held = Queue("q", channel=connection).get()
        clock.advance(LEASE * 10)
        worker = broker.consumer(["q"], name="w", lease=LEASE)
        assert worker.reap() == 1
        with pytest.raises(LeaseLost):
            held.ack()
        (delivery,) = worker.fetch(1)
        assert (delivery.wire, delivery.losses) == (b"a", 1)
        worker.close()

    def test_a_channel_that_lost_its_lease_goes_on_with_a_new_one(
        self, broker: Broker, connection: Connection, producer: Producer, clock: MovableClock
    ) -> None:
        needs_leases(broker)
        queue = Queue("q", channel=connection)
        producer.publish("a", routing_key="q")
        held = queue.get()
        clock.advance(LEASE * 10)
        worker = broker.consumer(["other"], name="w", lease=LEASE)
        assert worker.reap() == 1
        again = queue.get()
        assert again is not None
        assert again.delivery_info["redelivered"]
        with pytest.raises(LeaseLost):
            held.ack()
        again.ack()
        assert drain(queue) == []
        worker.close()

    def test_a_channel_in_use_keeps_its_lease(
        self, broker: Broker, connection: Connection, producer: Producer, clock: MovableClock
    ) -> None:
        needs_leases(broker)
        queue = Queue("q", channel=connection)
        producer.publish("a", routing_key="q")
        held = queue.get()
        worker = broker.consumer(["other"], name="w", lease=LEASE)
        for _ in range(10):
            clock.advance(LEASE / 2)
            worker.renew()
            assert queue.get() is None
            assert worker.reap() == 0
        held.ack()
        worker.close()

    def test_what_a_cancelled_consumer_was_not_called_with_goes_back(
        self, connection: Connection, producer: Producer
    ) -> None:
        received: Received = []
        for n in range(3):
            producer.publish(n, routing_key="q")
        channel = connection.channel()
        consumer = KombuConsumer(channel, [Queue("q")])
        consumer.register_callback(keep(received))
        consumer.register_callback(lambda body, message: consumer.cancel())
        consumer.consume()
        connection.drain_events(timeout=20)
        received[0][1].ack()
        channel.close()
        assert [body for body, _ in received] == [0]
        assert drain(Queue("q", channel=connection)) == [1, 2]

    # --- queues ---

    def test_declaring_tells_the_length_and_passively_whether_it_is_there(
        self, connection: Connection, producer: Producer
    ) -> None:
        queue = Queue("q", channel=connection)
        with pytest.raises(BrokerError, match="'q'"):
            queue.queue_declare(passive=True)
        queue.declare()
        producer.publish("a", routing_key="q")
        assert tuple(queue.queue_declare(passive=True)) == ("q", 1, 0)

    def test_a_queue_without_a_name_gets_one_of_its_own(self, connection: Connection) -> None:
        queues = [Queue(channel=connection), Queue(channel=connection)]
        for queue in queues:
            queue.declare()
        assert len({queue.name for queue in queues} - {""}) == 2

    def test_purge_and_delete_tell_how_many_messages_went(self, connection: Connection, producer: Producer) -> None:
        queue = Queue("q", Exchange("news", "fanout"), channel=connection)
        queue.declare()
        for n in range(3):
            producer.publish(n, routing_key="q")
        assert queue.purge() == 3
        producer.publish("x", routing_key="q")
        assert queue.delete(if_empty=True) == 0
        assert queue.delete() == 1
        producer.publish("y", exchange=Exchange("news", "fanout"))
        assert drain(queue) == []

    def test_an_auto_delete_queue_ends_with_its_consumer(self, broker: Broker, producer: Producer) -> None:
        needs_lists(broker)
        exchange = Exchange("news", "fanout")
        with broker.connection() as listening:
            channel = listening.channel()
            KombuConsumer(channel, [Queue("ear", exchange, auto_delete=True)], callbacks=[keep([])]).consume()
            assert "ear" in [size.name for size in broker.queues()]
        producer.publish("x", exchange=exchange)
        assert "ear" not in [size.name for size in broker.queues()]

    def test_a_queue_that_expires_is_deleted_when_nobody_uses_it(
        self, broker: Broker, connection: Connection, clock: MovableClock
    ) -> None:
        needs_lists(broker)
        Queue("brief", expires=60, channel=connection).declare()
        send(broker, "a", queue="brief")
        clock.advance(61)
        consumer = broker.consumer(["default"], name="w", lease=LEASE)
        consumer.reap()
        assert [size.name for size in broker.queues()] == ["default"]
        consumer.close()


def keep(received: Received) -> Any:
    return lambda body, message: received.append((body, message))


def drain(queue: Any) -> list[Any]:
    """The payloads of all that can be got from a queue, which they leave."""
    payloads = []
    while (received := queue.get(no_ack=True)) is not None:
        payloads.append(received.payload)
    return payloads
