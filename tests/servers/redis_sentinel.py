"""Sentinels for tests, and a house of them: a primary, its replica, and three who watch them."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.servers.redis_server import ALWAYS, QUICK_COPIES, RedisServer, tls_files
from tests.servers.server import need, until


class RedisSentinel(RedisServer):
    """One Sentinel that watches ``primary`` under the name ``mymaster``, and is quick to act. TLS where that has it."""

    def __init__(self, folder: Path, primary: RedisServer, quorum: int) -> None:
        files = primary.certificates
        super().__init__(folder, certificates=files)
        secured = [f"tls-port {self.port}", "tls-replication yes", *tls_files(files)] if files else []
        self.settings = folder / "sentinel.conf"
        self.settings.write_text(
            "\n".join([
                f"port {self.plain_port}", "bind 127.0.0.1", f"dir {folder}", *secured,
                f"sentinel monitor mymaster 127.0.0.1 {primary.port} {quorum}",
                "sentinel down-after-milliseconds mymaster 500", "sentinel failover-timeout mymaster 3000", "",
            ])
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        return (need(self.program), str(self.settings), "--sentinel")

    def is_ready(self, replicas: int, sentinels: int) -> bool:
        """Whether it knows all of them, without which it may not act."""
        told = self.cli("SENTINEL", "MASTER", "mymaster")
        known = dict(zip(told[::2], told[1::2], strict=True))
        return (int(known[b"num-slaves"]), int(known[b"num-other-sentinels"])) == (replicas, sentinels - 1)


class House:
    """A primary, its replica, and three Sentinels that know each other; all of them end with the block."""

    def __init__(self, folder: Path, certificates: Path | None = None) -> None:
        self.folder = folder
        tls = ("--tls-replication", "yes") if certificates else ()
        self.primary = RedisServer(folder / "primary", *QUICK_COPIES, *tls, *ALWAYS, certificates=certificates)
        of = ("--replicaof", "127.0.0.1", str(self.primary.port))
        self.replica = RedisServer(folder / "replica", *of, *tls, *ALWAYS, certificates=certificates)
        self.sentinels: list[RedisSentinel] = []
        self._closing = ExitStack()

    @property
    def places(self) -> str:
        """Where the Sentinels are, as a URL says it."""
        return ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)

    @property
    def url(self) -> str:
        return f"sentinel://{self.places}/mymaster/0"

    def is_taken_over(self) -> bool:
        """Whether the replica is the primary, and all Sentinels say so."""
        named = {int(each.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1]) for each in self.sentinels}
        return named == {self.replica.port} and self.replica.cli("ROLE")[0] == b"master"

    def __enter__(self) -> "House":
        with ExitStack() as closing:
            for server in (self.primary, self.replica):
                closing.callback(server.kill)
                server.start()
            until(lambda: b"master_link_status:up" in self.replica.cli("INFO", "replication"), "the replica follows")
            for number in range(3):
                self.sentinels.append(RedisSentinel(self.folder / f"sentinel{number}", self.primary, 2))
                closing.callback(self.sentinels[-1].kill)
                self.sentinels[-1].start()
            until(lambda: all(each.is_ready(1, 3) for each in self.sentinels), "the Sentinels know each other")
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
