"""Where Celery's tools look for a broker: kombu's own transports for Redis and RabbitMQ, ours for what only we speak.

A connection made here carries telemetry and remote control, never a task.
"""

import ssl
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import quote

# mypy: allow-untyped-calls
from kombu.connection import Connection

from taskbus.broker.transports.amqp import address
from taskbus.broker.transports.schemes import transport_of
from taskbus.clock import wall_clock
from taskbus.database import redis_url
from taskbus.errors import ConfigError

CELERYS = ("redis:", "rediss:", "sentinel:", "sentinels:", "amqp:", "amqps:")
"""How the URLs of those brokers begin on which Celery's own tools meet us."""
TIMEOUT = 5.0
"""Seconds that connecting, or an answer, may take."""
BEATS = 20.0
"""Seconds after which a RabbitMQ that is silent is taken for gone."""
SPARING = {"redis": "Transport", "sentinel": "SentinelTransport"}
"""kombu's names of transports that we have in a sparing edition."""


class Joined(Connection):
    """kombu's connection, with our edition of its transport, whichever of its URLs it is switched to."""

    def get_transport_cls(self) -> Any:
        """Imports what it needs only when it is called: a worker in a hurry does not connect."""
        if (name := SPARING.get(str(self.transport_cls))) is None:
            return super().get_transport_cls()
        return getattr(import_module("taskbus.broker.monitoring.sparing"), name)


@dataclass(frozen=True, slots=True)
class Place:
    """What kombu is given to connect. ``is_celerys``: Celery's tools can connect there too.

    ``prefix`` begins the names of exchanges, where applications on one broker are kept apart by that.
    """

    urls: tuple[str, ...] = field(repr=False)
    is_celerys: bool
    prefix: str = ""
    transport: str | None = None
    ssl: Any = None
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    heartbeat: float = 0.0

    def connect(self) -> Connection:
        """A connection that is not open yet."""
        return Joined(
            list(self.urls),
            transport=self.transport,
            ssl=self.ssl,
            transport_options=self.options,
            heartbeat=self.heartbeat,
            connect_timeout=TIMEOUT,
        )

    def prepare(self) -> None:
        """Import what a connection needs: forked while another thread does so, a child would keep half of it."""
        self.connect().info()


def is_celerys(url: str) -> bool:
    """Whether Celery's own tools can be given this URL, but for what only ours means in it."""
    return url.startswith(CELERYS)


def place_of(url: str) -> Place:
    """Where telemetry and remote control of the workers on this broker meet.

    Raises:
        ConfigError: there is no such place: on a Redis Cluster, and inside a process.
    """
    scheme = url.partition(":")[0]
    if scheme in ("amqp", "amqps"):
        return _rabbitmq(address.read(url))
    if scheme == "memory" or scheme.endswith("+cluster"):
        raise ConfigError(
            f"{scheme}:// carries no remote control; a broker that does: redis://, amqp://, postgresql://"
        )
    if scheme in redis_url.SCHEMES:
        return _redis(redis_url.locate(url))
    options = {"url": url, "clock": wall_clock, "timeout": TIMEOUT}
    return Place(("memory://",), is_celerys=False, transport=transport_of(url), options=options)


def _rabbitmq(where: address.Address) -> Place:
    who = f"{quote(where.user, safe='')}:{quote(where.password, safe='')}@"
    vhost = quote(where.vhost, safe="")
    urls = tuple(f"pyamqp://{who}{_bracketed(host)}:{port}/{vhost}" for host, port in where.hosts)
    tls: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": where.cafile, "certfile": where.certfile}
    tls |= {"keyfile": where.keyfile, "server_hostname": None}  # None: kombu puts in the host it connects to
    options = {"read_timeout": TIMEOUT, "write_timeout": TIMEOUT}
    secured = tls if where.is_tls else None
    return Place(urls, is_celerys=True, prefix=where.prefix, ssl=secured, options=options, heartbeat=BEATS)


def _redis(where: redis_url.RedisPlace) -> Place:
    who = f"{quote(where.user, safe='')}:{quote(where.password, safe='')}@" if where.user or where.password else ""
    kind = "sentinel" if where.kind == redis_url.SENTINEL else "redis"
    urls = tuple(f"{kind}://{who}{_bracketed(host)}:{port}/{where.db}" for host, port in where.addresses)
    options: dict[str, Any] = {
        "ack_emulation": False,  # else kombu would give back what Celery's workers hold too long: not for us to do
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
    }
    if where.prefix != redis_url.PREFIX:  # else we are where Celery's tools look unless told otherwise
        options["global_keyprefix"] = f"{where.prefix}:"
    if where.service:
        said = {"username": where.options.get("sentinel_user"), "password": where.options.get("sentinel_password")}
        options |= {
            "master_name": where.service,
            "sentinel_kwargs": {name: text for name, text in said.items() if text},
        }
    files = {"ssl_ca_certs": "ca_file", "ssl_certfile": "cert_file", "ssl_keyfile": "key_file"}
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED} | {
        name: where.options[ours] for name, ours in files.items() if ours in where.options
    }
    return Place(urls, is_celerys=True, ssl=tls if where.is_tls else None, options=options)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
