"""A real worker behind Sentinels: it goes on with the replica when the primary dies, and when it only falls silent."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sample_flows as tasks
from evidence import lines
from worker_process import StartWorker, Worker, wait_until

from taskbus import TaskBus, chord
from taskbus.errors import PublishFailed, PublishUnknown
from taskbus.store.results import AsyncResult
from tests.servers.redis_sentinel import House
from tests.servers.server import until

SOON = 60.0
"""Seconds within which a few tasks have ended on a busy machine."""
FAILOVER = 60.0
"""Seconds that Sentinels may take to agree on a busy machine; what is ours begins when they have."""
RECOVERY = 15.0
"""Seconds within which the worker runs tasks again, once there is a primary."""
PUBLISH_TIMEOUT = 2.0
SLACK = 2.0
"""Seconds that a send may be later than its deadline because the machine is busy."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path / "house") as house:
        yield house


@pytest.fixture
def bus(house: House) -> Iterator[TaskBus]:
    with TaskBus("sample_flows", broker=house.url, publish_timeout=PUBLISH_TIMEOUT, unknown_task_grace=0) as made:
        for task in tasks.app.tasks.values():
            made._adopt(task)
        yield made


@pytest.fixture
def worker(bus: TaskBus, start_worker: StartWorker) -> Worker:
    """One that has run something."""
    worker = start_worker("-c", "2", "--lease", "120", app="sample_flows:app")
    assert tasks.add.delay(1, 1).get(timeout=SOON) == 2
    return worker


@dataclass
class Sends:
    """What became of sends: results of those accepted, how many ended how, and how long the longest took."""

    accepted: list[AsyncResult[int]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    def send(self) -> bool:
        """Send one; whether it was accepted. Any other end than the three that are promised is raised."""
        began = time.monotonic()
        try:
            self.accepted.append(tasks.add.delay(len(self.accepted), 1))
        except PublishFailed as error:
            self.ends["unknown" if isinstance(error, PublishUnknown) else "failed"] += 1
            return False
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        self.ends["accepted"] += 1
        return True


def under_way(house: House, folder: Path) -> list[AsyncResult[Any]]:
    """A task that runs until there is a file ``end``, and one that is delayed; the replica knows of both."""
    held = tasks.waits.delay(str(folder / "ran"), str(folder / "end"), 7)
    wait_until(lambda: lines(folder / "ran") == ["start7"], timeout=SOON, what="the run")
    late = tasks.add.options(countdown=3).delay(3, 4)
    until(house.primary.is_copied, "the replica has it all")
    return [held, late]


def sends_until_it_is_taken_over(house: House) -> Sends:
    """Send all the while, until a few were accepted by the new primary."""
    sends, pause, deadline = Sends(), Event(), time.monotonic() + FAILOVER
    while not house.is_taken_over():
        assert time.monotonic() < deadline, "the Sentinels name no new primary"
        sends.send()
        pause.wait(0.02)
    wait_until(lambda: sends.send() and sends.ends["accepted"] >= 3, timeout=RECOVERY, what="sends are accepted again")
    return sends


def goes_on(worker: Worker, before: list[AsyncResult[Any]], sends: Sends, folder: Path) -> None:
    """The same process runs all that was accepted, before and since, and nothing of it twice."""
    deadline = time.monotonic() + RECOVERY
    *_, last = sends.accepted
    assert last.get(timeout=RECOVERY) == len(sends.accepted), "a task that was sent to the new primary has run"
    for number, result in enumerate(sends.accepted):
        assert result.get(timeout=max(1.0, deadline - time.monotonic())) == number + 1
    (folder / "end").touch()
    assert [result.get(timeout=RECOVERY) for result in before] == [7, 7]
    assert lines(folder / "ran") == ["start7", "end7"], "the replica knew who was running it"
    assert chord([tasks.add.s(number, 1) for number in range(3)], tasks.total.s()).delay().get(timeout=SOON) == 6
    assert worker.process.poll() is None
    assert sends.longest < PUBLISH_TIMEOUT + SLACK, "no send hung beyond its deadline"
    assert worker.stop() == 0


def test_the_worker_goes_on_when_the_primary_is_killed(house: House, worker: Worker, tmp_path: Path) -> None:
    before = under_way(house, tmp_path)
    house.primary.kill()
    sends = sends_until_it_is_taken_over(house)
    assert sends.ends["failed"] + sends.ends["unknown"] > 0
    goes_on(worker, before, sends, tmp_path)


def test_the_worker_goes_on_when_the_primary_falls_silent_and_comes_back_too_late(
    house: House, worker: Worker, tmp_path: Path
) -> None:
    before = under_way(house, tmp_path)
    house.primary.pause()
    try:
        sends = sends_until_it_is_taken_over(house)
        assert sends.ends["failed"] + sends.ends["unknown"] > 0
        assert tasks.add.delay(5, 5).get(timeout=RECOVERY) == 10
    finally:
        house.primary.resume()
    goes_on(worker, before, sends, tmp_path)
