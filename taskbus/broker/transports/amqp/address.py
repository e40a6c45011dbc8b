"""What a URL of RabbitMQ says: hosts, credentials, TLS, and the options of this transport."""

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from taskbus.database import tls
from taskbus.database.urls import quotable, redacted, refuse_stray_at
from taskbus.errors import ConfigError

QUEUE_TYPES = ("quorum", "classic")
PORTS = {"amqp": 5672, "amqps": 5671}
OPTIONS = ("queue_type", "prefix", "consumer_timeout", "cafile", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """``amqp://user:password@host:5672,other:5672/vhost?queue_type=quorum&prefix=``.

    The hosts are nodes of one cluster, tried in order. ``prefix`` is put before the name of every queue and exchange,
    so that several users of one virtual host keep apart. ``cafile``, ``certfile``, ``keyfile``: for ``amqps``.
    ``consumer_timeout``: what ``rabbitmq.conf`` says of it, in seconds (0: there is none); AMQP does not tell.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str
    vhost: str
    queue_type: str = "quorum"
    prefix: str = ""
    is_tls: bool = False
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    consumer_timeout: float | None = None

    def __repr__(self) -> str:
        return f"Address({self.where})"

    @property
    def where(self) -> str:
        """Where it is, without secrets."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"RabbitMQ at {hosts}, virtual host {self.vhost!r}"

    def context(self) -> ssl.SSLContext | None:
        """How TLS is done; None: it is not. Raises ``tls.Unreadable``."""
        if not self.is_tls:
            return None
        return tls.context(self.cafile, self.certfile, self.keyfile)


def read(url: str) -> Address:
    """Raises ``ConfigError`` naming the part that cannot be used; never shows a password."""
    scheme, _, rest = url.partition("://")  # not by urlsplit, whose errors quote what they do not like
    if scheme not in PORTS:
        raise ConfigError(f"{redacted(url)!r} is no RabbitMQ; write amqp://user:password@host:5672/vhost")
    rest, _, fragment = rest.partition("#")
    place, _, query = rest.partition("?")
    authority, _, vhost = place.partition("/")
    userinfo, _, netloc = authority.rpartition("@")
    refuse_stray_at(url, userinfo, vhost, f"{query}#{fragment}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options.keys() - {*OPTIONS}:
        raise ConfigError(f"{scheme}://: unknown option {quotable(name, url)}; there are {', '.join(OPTIONS)}")
    if scheme != "amqps" and (of_tls := sorted({"cafile", "certfile", "keyfile"} & options.keys())):
        raise ConfigError(f"{scheme}://: {', '.join(of_tls)} needs TLS; write amqps://")
    tls.check_key(options, "certfile", "keyfile")
    kind = options.get("queue_type", QUEUE_TYPES[0])
    if kind not in QUEUE_TYPES:
        raise ConfigError(f"queue_type={quotable(kind, url)} is not one of {', '.join(QUEUE_TYPES)}")
    user, _, password = userinfo.partition(":")
    default = PORTS[scheme]
    hosts = tuple(_host(each, default, url) for each in netloc.split(",")) if netloc else (("127.0.0.1", default),)
    return Address(
        hosts, unquote(user) or "guest", unquote(password) if userinfo else "guest", unquote(vhost) or "/", kind,
        options.get("prefix", ""), scheme == "amqps", options.get("cafile"), options.get("certfile"),
        options.get("keyfile"), _seconds(options.get("consumer_timeout"), url),
    )  # fmt: skip


def _seconds(text: str | None, url: str) -> float | None:
    if text is None:
        return None
    if not text.isdecimal():
        said = quotable(text, url)
        raise ConfigError(f"consumer_timeout={said} is no number of seconds; write consumer_timeout=7200, or 0")
    return float(text)


def _host(text: str, default: int, url: str) -> tuple[str, int]:
    """``name``, ``name:port`` or ``[v6]:port``."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ConfigError(
            f"{redacted(url)!r}: {quotable(port, url)!r} is no port of a RabbitMQ host; write host:5672, and"
            " / ? # @ in a password as %2F %3F %23 %40"
        )
    return host.strip("[]") or "127.0.0.1", int(port)
