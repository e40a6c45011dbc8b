"""The memory transport keeps the contract of all transports, as far as one process goes."""

from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.transports import memory_hall
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import send, waiting
from taskbus.testing.transport_contract import TransportContract


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path}"


def test_no_more_ids_are_remembered_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_hall, "MOST_IDS", 3)
    broker = Broker(f"memory://{tmp_path}", clock=MovableClock())
    send(broker, *"abcd", "d", "b", "a")
    assert waiting(broker) == [*"abcd", "a"]
    broker.close()
