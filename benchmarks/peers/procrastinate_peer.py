"""Procrastinate on PostgreSQL."""

import asyncio
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

from adapter import IO_SLOTS, NAP, URL, add_up, counter_hit
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

hit = counter_hit()
app = App(connector=PsycopgConnector(conninfo=URL))


@app.task(name="noop")
async def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@app.task(name="nap")
async def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
    return number


@app.task(name="sum")
async def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}


class ProcrastinatePeer:
    def __init__(self) -> None:
        self._synchronous = ExitStack()
        self._is_open = False

    def _task(self, kind: str) -> Any:
        """The task on a synchronous connection, the tables made the first time."""
        if not self._is_open:
            self._is_open = True
            self._synchronous.enter_context(app.replace_connector(SyncPsycopgConnector(conninfo=URL)))
            app.open()
            if not app.check_connection():
                app.schema_manager.apply_schema()
        return TASKS[kind]

    def about(self) -> dict[str, str]:
        return {
            "name": "Procrastinate",
            "version": version("procrastinate"),
            "ack": "late: the job's row is marked as done after the task",
            "guarantee": "stalled jobs are detectable, and run again by a task that the user installs",
            "tuning": "concurrency 100; asynchronous no-op tasks; keeps no return values",
        }

    def send(self, kind: str, number: int) -> object:
        return self._task(kind).defer(number=number)

    def send_many(self, kind: str, tasks: int) -> bool:
        task = self._task(kind)
        for start in range(0, tasks, 1000):
            task.batch_defer(*({"number": number} for number in range(start, min(start + 1000, tasks))))
        return True

    def send_later(self, delay: float) -> object:
        return None

    def wait(self, sent: Any) -> Any:
        connector: Any = app.connector
        while connector.execute_query_one("SELECT status FROM procrastinate_jobs WHERE id = %(id)s", id=sent)[
            "status"
        ] in ("todo", "doing"):
            time.sleep(0.001)

    def work(self, kind: str, processes: int) -> list[str] | None:
        if processes > 1:
            return None
        return [sys.executable, "-m", "procrastinate", "-a", "procrastinate_peer.app", "worker", "-c", str(IO_SLOTS)]


PEER = ProcrastinatePeer()
