"""Huey on SQLite, as fast as it can be; the variant ``synced`` keeps its own default of a disk flush a commit."""

import sys
from importlib.metadata import version
from typing import Any

from adapter import FOLDER, KEEPS_RESULTS, VARIANT, counter_hit
from huey import SqliteHuey

IS_SYNCED = VARIANT == "synced"
huey = SqliteHuey("bench", filename=f"{FOLDER}/huey.db", fsync=IS_SYNCED, results=KEEPS_RESULTS)
hit = counter_hit()


@huey.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


FASTEST = "fsync=False (WAL, synchronous=OFF)"
SYNCED = "fsync=True, as by default (WAL, synchronous=FULL)"


class HueyPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "Huey (synced)" if IS_SYNCED else "Huey",
            "version": version("huey"),
            "ack": "early: the task is deleted from the queue before it runs",
            "guarantee": "at most once: what a killed process was running is lost",
            "tuning": f"{SYNCED if IS_SYNCED else FASTEST}; polls every 1 ms, not 100; process workers; quiet",
        }

    def send(self, number: int) -> object:
        return noop(number)

    def send_many(self, tasks: int) -> bool:
        return False

    def wait(self, sent: Any) -> None:
        sent.get(blocking=True, timeout=60, max_delay=0.001)

    def work(self, processes: int) -> list[str]:
        line = f"-m huey.bin.huey_consumer huey_peer.huey -q -n -k process -w {processes} -d 0.001 -m 0.001"
        return [sys.executable, *line.split()]


PEER = HueyPeer()
