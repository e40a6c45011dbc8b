"""Huey on SQLite or Redis, as fast as it can be; the variant ``synced`` keeps its default of a disk flush a commit."""

import sys
import time
from importlib.metadata import version
from typing import Any

from adapter import FOLDER, IO_SLOTS, KEEPS_RESULTS, NAP, URL, VARIANT, add_up, counter_hit
from huey import RedisHuey, SqliteHuey

IS_SYNCED = VARIANT == "synced"
huey = (
    RedisHuey("bench", url=URL, results=KEEPS_RESULTS)
    if URL
    else SqliteHuey("bench", filename=f"{FOLDER}/huey.db", fsync=IS_SYNCED, results=KEEPS_RESULTS)
)
hit = counter_hit()


@huey.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@huey.task(name="nap")
def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    time.sleep(NAP)
    return number


@huey.task(name="sum")
def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


@huey.task(name="instant")
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS = {"noop": noop, "nap": nap, "sum": sum_up}
FASTEST = "fsync=False (WAL, synchronous=OFF); "
SYNCED = "fsync=True, as by default (WAL, synchronous=FULL); "


class HueyPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "Huey (synced)" if IS_SYNCED else "Huey",
            "version": version("huey"),
            "ack": "early: the task is deleted from the queue before it runs",
            "guarantee": "at most once: what a killed process was running is lost",
            "tuning": f"{'' if URL else SYNCED if IS_SYNCED else FASTEST}process workers"
            f" (threads for naps); polls every 1 ms, not 100; quiet",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind](number)

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return instant.schedule(delay=delay)

    def wait(self, sent: Any) -> Any:
        return sent.get(blocking=True, timeout=60, max_delay=0.001)

    def work(self, kind: str, processes: int) -> list[str] | None:
        pool = f"-k thread -w {IO_SLOTS}" if kind == "nap" else f"-k process -w {processes}"
        line = f"-m huey.bin.huey_consumer huey_peer.huey -q {pool} -d 0.001 -m 0.001 -s 1"
        return [sys.executable, *line.split()]


PEER = HueyPeer()
