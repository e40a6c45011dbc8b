"""What a model needs to know of running programs: CPU, bytes on the wire, bytes kept. Read from outside; Linux only."""

import os
import socket
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import family, pss
from grounds import Ground

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU that these processes have used, to the nanosecond; threads that ended are not in it.

    Source: the kernel's sched-stats.rst, /proc/PID/schedstat.
    """
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def memory(pids: Iterable[int]) -> int:
    """Bytes these processes take, what they share counted by its share."""
    return sum(map(pss, pids)) * 1024


def busy() -> float:
    """Seconds of CPU that the whole machine has used. Source: proc(5)."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / TICK


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over connections, both ways, in bytes and in segments that carried any."""

    sent: int = 0
    received: int = 0
    writes: int = 0
    replies: int = 0

    @property
    def round_trips(self) -> int:
        """At most so many times somebody waited: what is long takes several segments, in one direction."""
        return min(self.writes, self.replies)

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.sent - other.sent,
            self.received - other.received,
            self.writes - other.writes,
            self.replies - other.replies,
        )


def traffic(port: int | None) -> Traffic:
    """What this process has exchanged with a server, on the connections that are open now. Source: tcp(7), TCP_INFO."""
    totals = [0, 0, 0, 0]
    for descriptor in map(int, os.listdir("/proc/self/fd") if port else []):
        with suppress(OSError):  # the listing's own descriptor is gone by now
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as each:
                if each.family == socket.AF_INET and each.getpeername()[1] == port:
                    told = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                    acked, received, _, _, _, _, segments_in, segments_out = struct.unpack_from("=QQIIIIII", told, 120)
                    for place, number in enumerate((acked, received, segments_out, segments_in)):
                        totals[place] += number
    return Traffic(*totals)


def connections(pids: Iterable[int], port: int | None) -> int:
    """How many connections these processes have to a server."""
    if not port:
        return 0
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[2].rpartition(":")[2], 16) == port:
            inodes.add(fields[9])
    found = 0
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                found += os.readlink(descriptor).strip("socket:[]") in inodes
    return found


class Host:
    """The broker's side of a place: its processes, what it keeps for what is queued, what it has written to disk."""

    def __init__(self, broker: str, ground: Ground, folder: str) -> None:
        self.broker = broker
        self.port: int | None = ground.server.port if ground.server else None
        self._ground: Any = ground
        self._folder = Path(folder)

    def pids(self) -> list[int]:
        """Its processes; none where the broker is a library in its clients."""
        return family(self._ground.server.pid) if self._ground.server else []

    def cpu(self) -> float:
        """Seconds of CPU its processes have used."""
        return cpu(self.pids())

    def held(self) -> int:
        """Bytes of memory (Redis, RabbitMQ) or of tables and indexes (the others) that it takes now."""
        server = self._ground.server
        if self.broker == "redis":
            return int(self._redis("memory", "used_memory"))
        if self.broker == "rabbitmq":
            return int(server.evaluate("[garbage_collect(P) || P <- processes()], erlang:memory(total).").split()[-1])
        if self.broker == "postgresql":
            sizes = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
            own = "AND relnamespace = 'public'::regnamespace"
            return int(server.run(f"{sizes} {own}", database=self._ground.database)[0][0])
        return self._mysql() if self.broker == "mysql" else self._sqlite()

    def written(self) -> int:
        """Bytes it has written to its log: what a disk must take, and a replica be sent."""
        server = self._ground.server
        if self.broker == "redis":
            return int(self._redis("persistence", "aof_current_size"))
        if self.broker == "postgresql":
            return int(server.run("SELECT pg_current_wal_lsn() - '0/0'")[0][0])
        if self.broker == "mysql":
            return int(server.run("SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'")[0][1])
        return sum(map(_written, self.pids() or [os.getpid()]))

    def _redis(self, section: str, name: str) -> str:
        told = self._ground.server.cli("INFO", section).decode().splitlines()
        return str(next(line.partition(":")[2] for line in told if line.startswith(f"{name}:")))

    def _mysql(self) -> int:
        """Sizes are as of the last analysis, so there is one first."""
        run, database = self._ground.server.run, self._ground.database
        tables = [name for (name,) in run("SHOW TABLES", database=database)]
        if not tables:
            return 0
        run(f"ANALYZE TABLE {', '.join(tables)}", database=database)
        sizes = "SELECT sum(data_length + index_length) FROM information_schema.tables WHERE table_schema = %s"
        return int(run(sizes, database)[0][0])

    def _sqlite(self) -> int:
        import sqlite3

        file = self._folder / "taskbus.db"
        if not file.exists():
            return 0
        connection = sqlite3.connect(file)
        try:
            names = ("page_count", "page_size", "freelist_count")
            pages, size, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        finally:
            connection.close()
        return int((pages - free) * size)


def _written(pid: int) -> int:
    """Bytes a process has caused to be written to a disk. Source: proc(5), /proc/PID/io."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
