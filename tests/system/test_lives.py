"""What a middleware may do around the life of a runner and of a worker, and what may stand for an application."""

from pathlib import Path

import pytest
from runner_rig import Rig
from worker_process import Worker, wait_until

SHOP = """
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskbus import Middleware, TaskBus


def note(what: str) -> None:
    with Path(__file__).with_name("notes").open("a") as notes:
        notes.write(f"{what} {os.getpid()}\\n")


class Noting(Middleware):
    @contextmanager
    def working(self) -> Iterator[None]:
        note("working")
        yield
        note("worked")

    @contextmanager
    def serving(self) -> Iterator[None]:
        note("serving")
        yield
        note("served")


class Proxy:
    def __taskbus__(self) -> TaskBus:
        return bus


bus = TaskBus("shop", middleware=[Noting()], processes=1, start_method=os.environ.get("START_METHOD", "forkserver"))
app = Proxy()


@bus.task
def pid() -> int:
    note("ran")
    return os.getpid()
"""


def notes(folder: Path) -> list[list[str]]:
    file = folder / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_runner_is_prepared_before_its_first_attempt_and_left_after_its_last(tmp_path: Path, method: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with Rig(app="shop:bus", folder=tmp_path, START_METHOD=method) as rig:
        rig.frame("ready")
        server = str(rig.process.pid)
        assert notes(tmp_path) == [["working", server]]
        runner = rig.fork()
        runner_pid = str(runner.pid)
        assert notes(tmp_path) == [["working", server], ["serving", runner_pid]]
        runner.send("stop")
        assert rig.how_it_left(runner) == ""
        rig.close()
    assert notes(tmp_path)[2:] == [["served", runner_pid], ["worked", server]]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_what_stands_for_an_application_is_served_as_one(tmp_path: Path, pool: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    database = f"sqlite:///{tmp_path}/shop.db"
    with Worker(database, tmp_path, "-P", pool, "--log-format", "json", app="shop:app") as worker:
        wait_until(lambda: '"event": "ready"' in worker.log.read_text(), what="a worker")
        assert worker.stop() == 0
    assert [what for what, _ in notes(tmp_path)] == ["working", "serving", "served", "worked"]
    assert len({pid for _, pid in notes(tmp_path)}) == (1 if pool == "solo" else 2)


def test_an_object_that_stands_for_an_application_counts_once(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with Rig(app="shop", folder=tmp_path) as rig:
        assert rig.frame("ready")[1]["app"] == "shop"
