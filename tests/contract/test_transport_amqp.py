"""The RabbitMQ transport keeps the contract of all transports, as far as AMQP can.

RabbitMQ's time cannot be moved, so the tests wait, with a second of theirs a fifth of one.
"""

import uuid
from pathlib import Path

import pytest

from taskbus.testing.clock import MovableClock, RunningClock
from taskbus.testing.transport_contract import TransportContract
from tests.servers.rabbitmq_server import RabbitServer, the_node

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def node() -> RabbitServer:
    return the_node()


def prefixed(node: RabbitServer, options: str = "") -> str:
    return f"{node.url}?prefix={uuid.uuid4().hex[:8]}.{options}"


class OnRabbit(TransportContract):
    unit = 0.2

    @pytest.fixture
    def clock(self) -> MovableClock:
        return RunningClock()


class TestQuorumQueues(OnRabbit):
    @pytest.fixture
    def url(self, node: RabbitServer, tmp_path: Path) -> str:
        return prefixed(node)


class TestClassicQueues(OnRabbit):
    @pytest.fixture
    def url(self, node: RabbitServer, tmp_path: Path) -> str:
        return prefixed(node, "&queue_type=classic")
