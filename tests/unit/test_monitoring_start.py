"""When a worker begins to speak with Celery's tools: not while the tasks that it found are in a hurry."""

from types import SimpleNamespace

import pytest

from taskbus.config import Config
from taskbus.worker import monitoring
from taskbus.worker.monitoring import START_WITHIN, Monitoring
from taskbus.worker.standing import Standing
from taskbus.worker.telemetry import Telemetry


class Silent:
    """A station that only says whether it was started."""

    def __init__(self, *_: object) -> None:
        self.starts = 0

    def ring(self) -> None:
        pass

    def start(self) -> None:
        self.starts += 1

    def stop(self, timeout: float) -> None:
        pass


@pytest.fixture
def station(monkeypatch):
    made = Silent()
    monkeypatch.setattr(monitoring, "Station", lambda *_: made)
    return made


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(monitoring.time, "monotonic", lambda: clock.value)
    return clock


def monitored(url="redis://127.0.0.1:1/0", **settings):
    realm = SimpleNamespace(
        config=Config(**settings), node="celery@here", telemetry=Telemetry(10), standing=Standing(),
        crew=SimpleNamespace(runners={}),
    )  # fmt: skip
    return Monitoring(realm, url)


def test_it_begins_at_once_where_there_is_nothing_to_do(station, now):
    worker = monitored()
    worker.start()
    worker.tick(now.value, lambda: True)
    assert station.starts == 1
    worker.tick(now.value + 10, lambda: True)
    assert station.starts == 1
    worker.close()


def test_it_begins_soon_where_tasks_were_waiting_and_the_loop_wakes_for_it(station, now):
    worker = monitored()
    worker.start()
    worker.tick(now.value + START_WITHIN / 2, lambda: False)
    assert station.starts == 0
    assert worker.next_at(now.value) == now.value + START_WITHIN
    worker.tick(now.value + START_WITHIN, lambda: False)
    assert station.starts == 1
    assert worker.next_at(now.value) is None
    worker.close()


def test_before_the_worker_is_ready_nothing_begins(station, now):
    worker = monitored()
    worker.tick(now.value, lambda: True)
    assert station.starts == 0
    worker.close()


def test_a_worker_that_is_not_to_be_heard_of_never_wakes_for_it(station, now):
    worker = monitored(remote_control="off")
    worker.start()
    worker.tick(now.value, lambda: True)
    assert station.starts == 0
    assert worker.next_at(now.value) is None
    worker.close()
