"""TaskBus beside its rivals, with its defaults."""

import sys
from typing import Any

from adapter import FOLDER, KEEPS_RESULTS, counter_hit

from taskbus import TaskBus, __version__

app = TaskBus("bench", broker=f"sqlite:///{FOLDER}/taskbus.db", store_results=KEEPS_RESULTS)
hit = counter_hit()


@app.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


class TaskBusPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "TaskBus",
            "version": __version__,
            "ack": "late: after the task, together with its result, in one transaction",
            "guarantee": "at least once: what a killed process was running runs again",
            "tuning": "none (WAL, synchronous=NORMAL; sends return after COMMIT)",
        }

    def send(self, number: int) -> object:
        return noop.delay(number)

    def send_many(self, tasks: int) -> bool:
        with app.batch():
            for number in range(tasks):
                noop.delay(number)
        return True

    def wait(self, sent: Any) -> None:
        sent.get(timeout=60)

    def work(self, processes: int) -> list[str]:
        line = f"-m taskbus worker -A taskbus_peer:app --processes {processes} --log-level WARNING"
        return [sys.executable, *line.split()]


PEER = TaskBusPeer()
