"""TLS on every server: it carries what is sent and kept, and whom it cannot verify it refuses."""

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.transports.redis.keys import Keys
from taskbus.database.opening import open_database
from taskbus.database.server import ServerDatabase
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown, StoreError
from taskbus.store.opening import open_store
from taskbus.testing.clock import RunningClock
from taskbus.testing.records import saved
from taskbus.testing.transport_basis import LEASE, acks, fetch_when_there, ids, message, readable, send
from tests.servers import mariadb_server, postgres_server
from tests.servers.certificates import certificates
from tests.servers.rabbitmq_server import RabbitServer, listens, quiet_port
from tests.servers.redis_sentinel import House
from tests.servers.redis_server import RedisCluster, RedisServer, spread
from tests.servers.server import humble, until

SIZES = (1, 1 << 14, 1 << 20, 8 << 20)
"""Bytes of a body: within a record of TLS, one, and many."""


@dataclass
class Secured:
    """A server that speaks TLS; ``url`` has ``{ca}`` where the file of its authority belongs."""

    url: str
    folder: Path
    queues: list[str]
    """Where messages go: to each node of a cluster."""

    def by(self, ca: Path | str | None = None) -> str:
        return self.url.format(ca=ca or self.folder / "ca.pem")


@contextmanager
def one_redis(folder: Path) -> Iterator[Secured]:
    files = certificates()
    server = RedisServer(folder, certificates=files)
    server.start()
    try:
        own = f"&cert_file={files}/server.pem&key_file={files}/server.key"
        yield Secured(f"rediss://127.0.0.1:{server.port}/0?ca_file={{ca}}{own}", files, ["default"])
    finally:
        server.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[Secured]:
    files = certificates()
    with RedisCluster(folder, certificates=files) as nodes:
        yield Secured(f"rediss+cluster://{nodes.places}?ca_file={{ca}}", files, spread(Keys("taskbus")))


@contextmanager
def sentinels(folder: Path) -> Iterator[Secured]:
    files = certificates()
    with House(folder, certificates=files) as house:
        yield Secured(f"sentinels://{house.places}/mymaster/0?ca_file={{ca}}", files, ["default"])


@contextmanager
def postgresql(folder: Path) -> Iterator[Secured]:
    files = certificates(humble("postgres"))
    settings = {"ssl": "on", "ssl_cert_file": f"{files}/server.pem", "ssl_key_file": f"{files}/server.key"}
    with postgres_server.server_of_its_own(**settings) as server:
        yield Secured(server.url(sslmode="verify-full", sslrootcert="{ca}"), files, ["default"])


@contextmanager
def mysql(folder: Path) -> Iterator[Secured]:
    files = certificates(humble("mysql"))
    settings = {
        "ssl-ca": f"{files}/ca.pem", "ssl-cert": f"{files}/server.pem", "ssl-key": f"{files}/server.key",
        "max-allowed-packet": "64M",
    }  # fmt: skip
    with mariadb_server.server_of_its_own(**settings) as server:
        server.run(f"ALTER USER {mariadb_server.USER}@'%' REQUIRE SSL", as_root=True)
        yield Secured(server.url(ssl_ca="{ca}"), files, ["default"])


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Secured]:
    files, port = certificates(), quiet_port()
    server = RabbitServer(
        folder,
        config=f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {files}/server.pem\n"
        f"ssl_options.keyfile = {files}/server.key\nssl_options.cacertfile = {files}/ca.pem\n",
    )
    server.start()
    try:
        until(lambda: listens(port), "the port for TLS is open")  # it opens after the other one
        yield Secured(f"amqps://guest:guest@127.0.0.1:{port}/?cafile={{ca}}", files, ["default"])
    finally:
        server.kill()


SERVERS = (one_redis, cluster, sentinels, postgresql, mysql, rabbitmq)
STORES = (one_redis, cluster, sentinels, postgresql, mysql)


@pytest.fixture(scope="module", params=SERVERS, ids=lambda server: server.__name__)
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with request.param(tmp_path_factory.mktemp("secured")) as secured:
        yield secured


def on(*servers: Callable[[Path], object]) -> pytest.MarkDecorator:
    """Only on these."""
    return pytest.mark.parametrize("secured", servers, indirect=True, ids=lambda server: server.__name__)


only_stores = on(*STORES)


def test_it_carries_messages_of_any_size(secured: Secured) -> None:
    broker = Broker(secured.by(), max_message_bytes=9 << 20)
    consumer = broker.consumer(secured.queues, name="w", lease=LEASE)
    for queue in secured.queues:
        for size in SIZES:
            broker.publish(message(f"{queue}-{size}", body=b"x" * size, queue=queue))
            (delivery,) = fetch_when_there(consumer)
            assert ids([delivery]) == [f"{queue}-{size}"]
            assert len(delivery.wire) > size
            assert consumer.settle(acks([delivery]), None, shared=False) == []
    consumer.close()
    broker.close()


def test_it_carries_batches_both_ways(secured: Secured) -> None:
    broker, (queue, *_) = Broker(secured.by()), secured.queues
    with broker.batch():
        for n in range(300):
            broker.publish(message(f"m{n}", body=bytes(20_000), queue=queue))
    consumer = broker.consumer([queue], name="w", lease=LEASE)
    came: list[str] = []
    while len(came) < 300:
        deliveries = fetch_when_there(consumer, 100)
        came += ids(deliveries)
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    assert came == [f"m{n}" for n in range(300)]
    consumer.close()
    broker.close()


def test_it_wakes_who_waits(secured: Secured) -> None:
    sender, broker = Broker(secured.by()), Broker(secured.by())
    consumer = broker.consumer(secured.queues, name="w", lease=LEASE)
    for number in range(20):
        assert consumer.fetch(1) == []
        send(sender, str(number), queue=secured.queues[-1])
        assert readable(consumer)
        (delivery,) = fetch_when_there(consumer)
        assert consumer.settle(acks([delivery]), None, shared=False) == []
    consumer.close()
    broker.close()
    sender.close()


@only_stores
def test_it_carries_results_of_any_size(secured: Secured) -> None:
    with closing(open_store(secured.by(), RunningClock())) as store:
        store.apply([saved(f"r{size}", value=b"x" * size) for size in SIZES])
        found = store.results([f"r{size}" for size in SIZES])
        assert [found[f"r{size}"].value for size in SIZES] == [b"x" * size for size in SIZES]


@on(postgresql, mysql)
def test_an_idle_connection_is_kept(secured: Secured) -> None:
    database = open_database(secured.by())
    assert isinstance(database, ServerDatabase)
    link = database.link()
    for _ in range(3):
        link.cursor.execute("SELECT 1").fetchall()
        assert database.link() is link
    database.close()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda secured: secured.by(secured.folder / "wrong.pem"), "certificate.verify.failed"),
        (lambda secured: secured.by().replace("127.0.0.1", "localhost"), "mismatch|does not match"),
        (lambda secured: secured.by("/nowhere"), "does not exist|cannot be read"),
    ],
    ids=["another authority", "another name", "no file"],
)
def test_a_server_that_cannot_be_verified_is_refused(
    secured: Secured, wrong: Callable[[Secured], str], says: str
) -> None:
    with pytest.raises(BrokerError, match=f"(?i){says}") as raised:
        Broker(wrong(secured)).ping()
    with pytest.raises(PublishFailed, match=f"(?i){says}") as failed:
        send(Broker(wrong(secured)), "a")
    assert not isinstance(failed.value, PublishUnknown)
    assert "is it running" not in str(raised.value)
    assert postgres_server.PASSWORD not in str(raised.value)


@on(one_redis, cluster, sentinels, rabbitmq)
def test_who_names_no_authority_has_those_that_the_system_trusts(secured: Secured) -> None:
    with pytest.raises(BrokerError, match="certificate verify failed"):
        Broker(secured.url.partition("?")[0]).ping()


@on(one_redis, cluster, sentinels)
def test_who_forgets_tls_is_told_of_it(secured: Secured) -> None:
    right, _, _ = secured.url.partition("?")
    scheme = right.partition("://")[0]
    with pytest.raises(BrokerError, match=f"without TLS.* is {re.escape(scheme)}://"):
        Broker(right.replace(scheme, scheme.replace("rediss", "redis").replace("sentinels", "sentinel"))).ping()


@on(mysql)
def test_mysql_is_verified_by_what_the_system_trusts_where_no_authority_is_named(secured: Secured) -> None:
    with pytest.raises(BrokerError, match="certificate verify failed"):
        Broker(f"{secured.url.partition('?')[0]}?ssl_verify_identity=true").ping()
    Broker(f"{secured.url.partition('?')[0]}?ssl_verify_cert=false").ping()
    Broker(f"{secured.by().replace('127.0.0.1', 'localhost')}&ssl_verify_identity=false").ping()


@on(mysql)
def test_mysql_is_encrypted_without_options_and_loads_no_authorities_for_it(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", None)
    database = open_database(f"{secured.url.partition('?')[0]}?charset=utf8mb4")
    ((_, cipher),) = database.read("SHOW STATUS LIKE 'Ssl_cipher'")
    assert cipher


def test_a_mysql_without_tls_is_told_no_password_where_tls_was_asked_for() -> None:
    with mariadb_server.server_of_its_own(**{"skip-ssl": "1"}) as server:
        with pytest.raises(BrokerError, match=r"TLS|SSL"):
            Broker(server.url(ssl_verify_cert="false")).ping()
        Broker(server.url()).ping()


@only_stores
def test_a_store_that_cannot_be_verified_is_refused(secured: Secured) -> None:
    with pytest.raises(StoreError, match=r"(?i)certificate"):
        open_store(secured.by(secured.folder / "wrong.pem"), RunningClock()).results(["a"])
