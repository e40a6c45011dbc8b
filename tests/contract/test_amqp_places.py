"""Where a RabbitMQ may be, or not: which is told with advice and without a password. TLS is in test_tls.py."""

import uuid

import pytest

from taskbus.broker.broker import Broker
from taskbus.errors import BrokerError, ConfigError
from tests.servers.rabbitmq_server import RabbitServer, the_node


@pytest.fixture
def node() -> RabbitServer:
    return the_node()


@pytest.fixture
def url(node: RabbitServer) -> str:
    return f"{node.url}?prefix={uuid.uuid4().hex[:8]}."


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp://host/?queue_type=stream", "stream is not one of quorum, classic"),
        ("amqp://host/?typo=1", "unknown option typo"),
        ("amqp://host/?cafile=x&certfile=y", "cafile, certfile needs TLS; write amqps://"),
        ("amqps://host/?keyfile=x", "name that too: certfile=/path"),
        ("amqp://host:port/", "is no port of a RabbitMQ host; write host:5672"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_advice(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Broker(url)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("guest:guest@", "guest:s3cret@"), "ACCESS_REFUSED"),
        (("/?", "/nowhere?"), "nowhere"),
        ((":", ":"), "cannot reach"),
    ],
)
def test_a_broker_that_cannot_be_used_is_an_error_without_its_password(
    url: str, node: RabbitServer, change: tuple[str, str], says: str
) -> None:
    wrong = url.replace(*change)
    if says == "cannot reach":
        wrong = wrong.replace(f":{node.port}", ":1")
    with pytest.raises(BrokerError, match=says) as raised:
        Broker(wrong).ping()
    assert "s3cret" not in str(raised.value)
    assert "guest:" not in str(raised.value)
