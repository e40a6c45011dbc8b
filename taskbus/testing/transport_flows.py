"""The part of the transport contract about flows: what a record makes ready is published by the step it is part of."""

from collections.abc import Sequence
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.errors import StoreError
from taskbus.message import Recorded, Sealed
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import Basis, decoded, fetch_all, message, needs_lists, send, waiting
from taskbus.wire import compact


def record_and_follow(changes: Sequence[Any], transaction: Any) -> Recorded:
    """A store's ``apply`` that makes ready what each change names."""
    return Recorded([sealed_message(change) for change in changes])


def sealed_message(id: str, **fields: Any) -> Sealed:
    """A message as a flow keeps it."""
    made = message(id, **{"queue": "next", "priority": 7, **fields})
    return Sealed(made.queue, made.priority, compact.encode(made))


class FlowsContract(Basis):
    """Messages that come from the store."""

    @pytest.fixture
    def held(self, broker: Broker, consumer: Consumer) -> list[Delivery]:
        """Three messages, a, b and c, held by ``consumer``."""
        send(broker, "a", "b", "c")
        return consumer.fetch(3)

    @pytest.fixture(params=[False, True], ids=["apart", "shared"])
    def shared(self, broker: Broker, request: pytest.FixtureRequest) -> bool:
        """Whether the record is part of the transport's own transaction."""
        if request.param and not (broker.features.atomic_settle and broker.database):
            pytest.skip(f"Features of {broker.features.name}: no transaction to share")
        if request.param and broker.features.name.startswith("redis"):
            pytest.skip("Redis: what is ready only the script knows, which publishes it")
        return bool(request.param)

    def test_what_becomes_ready_is_published_in_its_queue_with_its_priority(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        settlements = [Settlement(each, changes=[f"{decoded(each).id}{n}" for n in "12"]) for each in held]
        assert consumer.settle(settlements, record_and_follow, shared=shared) == []
        found = broker.peek("next", 100)
        assert sorted(decoded(each).id for each in found) == ["a1", "a2", "b1", "b2", "c1", "c2"]
        assert {(each.queue, each.priority) for each in found} == {("next", 7)}
        assert found[0].wire == sealed_message(decoded(found[0]).id).wire
        assert waiting(broker) == []

    def test_it_is_published_beside_what_the_settlement_itself_publishes(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        settlements = [
            Settlement(held[0], follow_ups=[message("more", queue="next")], changes=["ready"]),
            Settlement(held[1], Act.RELEASE, changes=["released"]),
            Settlement(held[2], follow_ups=[message("c", attempt=2)]),
        ]
        assert consumer.settle(settlements, record_and_follow, shared=shared) == []
        assert sorted(waiting(broker, "next")) == ["more", "ready", "released"]
        assert sorted(decoded(each).id for each in fetch_all(consumer)) == ["b", "c"]

    def test_it_is_published_once_however_often_the_settlement_is_tried(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        settlements = [Settlement(held[0], changes=["ready"])]
        assert consumer.settle(settlements, record_and_follow, shared=shared) == []
        assert consumer.settle(settlements, record_and_follow, shared=shared) == held[:1]
        assert waiting(broker, "next") == ["ready"]

    def test_of_a_batch_with_stale_deliveries_only_the_kept_make_ready(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        assert consumer.settle([Settlement(held[1])], None, shared=False) == []
        settlements = [Settlement(each, changes=[f"after {decoded(each).id}"]) for each in held]
        assert consumer.settle(settlements, record_and_follow, shared=shared) == [held[1]]
        assert sorted(waiting(broker, "next")) == ["after a", "after c"]

    def test_nothing_is_published_where_all_deliveries_are_stale(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        consumer.settle([Settlement(each) for each in held], None, shared=False)
        settlements = [Settlement(each, changes=["ready"]) for each in held]
        assert consumer.settle(settlements, record_and_follow, shared=shared) == held
        assert waiting(broker, "next") == []

    def test_nothing_is_published_when_recording_is_refused(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        def refuse(changes: Sequence[Any], transaction: Any) -> Recorded | None:
            return None

        def fail(changes: Sequence[Any], transaction: Any) -> Recorded | None:
            raise StoreError("full")

        settlements = [Settlement(each, follow_ups=[message("more", queue="next")], changes=["x"]) for each in held]
        for record in (refuse, fail):
            with pytest.raises(StoreError):
                consumer.settle(settlements, record, shared=shared)
        assert waiting(broker, "next") == []
        assert consumer.settle([Settlement(each) for each in held], None, shared=False) == []

    def test_a_settlement_without_a_delivery_makes_ready_too(
        self, broker: Broker, consumer: Consumer, shared: bool
    ) -> None:
        settlement = Settlement(None, changes=["one", "two"])
        assert consumer.settle([settlement], record_and_follow, shared=shared) == []
        assert sorted(waiting(broker, "next")) == ["one", "two"]

    def test_what_is_ready_may_still_have_to_wait_for_its_time(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool, clock: MovableClock
    ) -> None:
        needs_lists(broker)
        sealed = sealed_message("later", queue="default")._replace(due_at=clock() + 10)

        def record(changes: Sequence[Any], transaction: Any) -> Recorded:
            return Recorded([sealed])

        assert consumer.settle([Settlement(each, changes=["x"]) for each in held], record, shared=shared) == []
        assert consumer.fetch(5) == []
        clock.advance(10)
        assert [each.wire for each in consumer.fetch(5)] == [sealed.wire]
