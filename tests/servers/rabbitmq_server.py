"""A RabbitMQ node for tests: own name, ports and folders, as root or not, small, without plugins.

One node serves a whole test session, as it takes seconds to start; tests keep apart by the ``?prefix=`` of their URLs.
"""

import atexit
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from tests.servers.server import Server, need, own_folder, until

SCRIPTS = "/usr/lib/rabbitmq/bin"
SMALL = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
COOKIE = "taskbus-tests"


class RabbitServer(Server):
    """One node. Several with the same ``epmd_port`` can become a cluster (``join``)."""

    program = "rabbitmq-server"

    def __init__(
        self, folder: Path, port: int | None = None, *, epmd_port: int | None = None, config: str = ""
    ) -> None:
        super().__init__(folder, port or quiet_port())
        self._scripts = Path(need(self.program, SCRIPTS)).parent
        if str(self._scripts) == "/usr/sbin":  # Debian's wrapper there insists on its own user and folders
            self._scripts = Path(SCRIPTS)
        self.dist_port = quiet_port()
        self.epmd_port = epmd_port or quiet_port()
        self.node = f"taskbus-{self.port}@localhost"
        self._epmd: subprocess.Popen[bytes] | None = None
        cookie = folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(COOKIE)
            cookie.chmod(0o400)
        (folder / "plugins").write_text("[].\n")
        (folder / "env.conf").touch()
        (folder / "advanced.config").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.absolute = 1GB\nlog.file.level = warning\n"
            f"log.console = false\n{config}"
        )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> Sequence[str]:
        return [str(self._scripts / "rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        folder = str(self.folder)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return kept | {
            "HOME": folder,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/env.conf",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_PLUGINS_EXPAND_DIR": f"{folder}/expanded",
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{folder}/feature_flags",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": SMALL,
            "RABBITMQ_CTL_ERL_ARGS": SMALL,
        }

    def launch(self) -> None:
        if not listens(self.epmd_port):
            with self.log.open("ab") as log:
                self._epmd = subprocess.Popen(
                    [need("epmd"), "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            until(lambda: listens(self.epmd_port), "epmd answers")
        super().launch()

    def is_up(self) -> bool:
        """Whether it speaks AMQP: the port is open before the node is."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(2)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self) -> None:
        super().stop()
        self._end_epmd()

    def kill(self) -> None:
        super().kill()
        self._end_epmd()

    def _end_epmd(self) -> None:
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            epmd.send_signal(signal.SIGKILL)
            epmd.wait()

    def control(self, *command: str, timeout: float = 60) -> str:
        """Run ``rabbitmqctl`` on this node; what it said."""
        done = subprocess.run(
            [self._scripts / "rabbitmqctl", "--quiet", "--node", self.node, *command],
            env=dict(self.environment()), capture_output=True, text=True, timeout=timeout, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, f"rabbitmqctl {' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression on the node: the only quick way to some of its insides."""
        return self.control("eval", expression)

    def connections(self) -> int:
        """How many client connections there are."""
        return int(self.evaluate("length(rabbit_networking:connections())."))

    def close_all_connections(self) -> None:
        """Close every client connection, as an operator would."""
        self.control("close_all_connections", "test")

    def set_memory_alarm(self, is_on: bool) -> None:
        self.control("set_vm_memory_high_watermark", *(["0.0000001"] if is_on else ["absolute", "1GB"]))

    def set_disk_alarm(self, is_on: bool) -> None:
        self.control("set_disk_free_limit", "1000000GB" if is_on else "1MB")

    def join(self, other: "RabbitServer") -> None:
        """Become a node of the other's cluster."""
        self.control("stop_app")
        self.control("join_cluster", other.node)
        self.control("start_app")


@cache
def the_node() -> RabbitServer:
    """The node that the tests of a session share, up; whoever breaks it mends it."""
    node = RabbitServer(own_folder("rabbitmq", None))
    atexit.register(node.kill)
    node.start()
    return node


def quiet_port() -> int:
    """A free port below those that the system gives to clients: while the node is down nobody may take it.

    A client that tries again and again to connect to a port of that range ends up connected to itself.
    """
    drawn = random.SystemRandom().sample(range(20_000, 32_000), 100)  # Hypothesis seeds the usual one alike everywhere
    for port in drawn:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def listens(port: int) -> bool:
    """Whether something takes connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[list[RabbitServer]]:
    """A cluster of nodes on loopback, the first of which keeps the epmd of all: stop it last."""
    epmd_port = quiet_port()
    nodes = [RabbitServer(folder / f"node-{n}", epmd_port=epmd_port) for n in range(size)]
    with ExitStack() as stopping:
        for node in nodes:
            stopping.callback(node.kill)
            node.start()
        for node in nodes[1:]:
            node.join(nodes[0])
        yield nodes
