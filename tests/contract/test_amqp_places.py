"""Where a RabbitMQ may be: behind TLS, or nowhere, which is told with advice and without a password."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.errors import BrokerError, ConfigError
from taskbus.testing.transport_basis import acks, fetch_when_there, ids, message
from tests.servers.rabbitmq_server import RabbitServer, listens, quiet_port, the_node
from tests.servers.server import need, until

LEASE = 30.0


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


# --- TLS ---


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[RabbitServer, str]]:
    """A node that speaks TLS only, and where the certificate of its authority is."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        f"{need('openssl')} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key}"
        f" -out {certificate} -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    port = quiet_port()
    server = RabbitServer(
        tmp_path / "node",
        config=f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {certificate}\n"
        f"ssl_options.keyfile = {key}\nssl_options.cacertfile = {certificate}\n",
    )
    server.start()
    until(lambda: listens(port), "the port for TLS is open")  # it opens after the other one
    yield server, f"amqps://guest:guest@127.0.0.1:{port}/?cafile={certificate}"
    server.kill()


@pytest.mark.slow
def test_tls_carries_large_batches_both_ways_and_refuses_whom_it_cannot_check(
    secured: tuple[RabbitServer, str],
) -> None:
    _, url = secured
    broker = Broker(url)
    with broker.batch():
        for n in range(300):
            broker.publish(message(f"m{n}", body=bytes(20_000)))
    consumer = broker.consumer(["default"], name="w", lease=LEASE)
    came: list[str] = []
    while len(came) < 300:
        deliveries = fetch_when_there(consumer, 100)
        came += ids(deliveries)
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    assert came == [f"m{n}" for n in range(300)]
    consumer.close()
    broker.close()
    with pytest.raises(BrokerError, match="certificate"):
        Broker(url.partition("?")[0]).ping()
