"""RQ on Redis."""

import sys
import time
from importlib.metadata import version
from typing import Any

from adapter import KEEPS_RESULTS, NAP, URL, add_up, counter_hit
from redis import Redis
from rq import Queue

queue = Queue("bench", connection=Redis.from_url(URL))
hit = counter_hit()
TTL = 3600 if KEEPS_RESULTS else 0


def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    time.sleep(NAP)
    return number


def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


TASKS = {"noop": "rq_peer.noop", "nap": "rq_peer.nap", "sum": "rq_peer.sum_up"}


class RqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "RQ",
            "version": version("rq"),
            "ack": "early, and listed as started: abandoned jobs are found by a cleaner and failed",
            "guarantee": "at most once: what a killed process was running is marked as failed",
            "tuning": "SimpleWorker: no fork a job",
        }

    def send(self, kind: str, number: int) -> object:
        return queue.enqueue(TASKS[kind], number, result_ttl=TTL)

    def send_many(self, kind: str, tasks: int) -> bool:
        for start in range(0, tasks, 1000):
            chunk = range(start, min(start + 1000, tasks))
            queue.enqueue_many([Queue.prepare_data(TASKS[kind], (number,), result_ttl=TTL) for number in chunk])
        return True

    def send_later(self, delay: float) -> object:
        return None

    def wait(self, sent: Any) -> Any:
        while (result := sent.return_value(refresh=True)) is None:
            time.sleep(0.001)
        return result

    def work(self, kind: str, processes: int) -> list[str] | None:
        if kind == "nap":
            return None
        line = f"-m rq.cli worker-pool bench -n {processes} -u {URL} -q -w rq.worker.SimpleWorker"
        return [sys.executable, *line.split()]


PEER = RqPeer()
