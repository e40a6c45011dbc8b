"""A worker is killed when a task of Celery's is recorded as ended and nothing else is done: all of it still follows."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord

from tests.interop.results_canvases import got
from tests.interop.results_fleet import Fleet, unique
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # which Celery calls


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    with closing(Fleet(redis.url, f"{redis.url}?prefix=own", redis.url, tmp_path)) as fleet:
        yield fleet
    redis.kill()


def a_chain(fleet: Fleet, key: str) -> Any:
    return chain(fleet.sig("add", 2, 3), fleet.sig("note", key))


def a_chord(fleet: Fleet, key: str) -> Any:
    """Of one part: the one whose end is cut short has claimed the chord already."""
    return chord([fleet.sig("add", 2, 3)], chain(fleet.sig("total"), fleet.sig("note", key)))


def a_callback(fleet: Fleet, key: str) -> Any:
    first = fleet.sig("add", 2, 3)
    first.link(fleet.sig("note", key))
    return first


@pytest.mark.parametrize("canvas", [a_chain, a_chord, a_callback])
def test_what_was_recorded_and_not_sent_is_sent_by_another_worker_once(
    fleet: Fleet, canvas: Callable[[Fleet, str], Any]
) -> None:
    doomed = fleet.taskbus_worker(TASKBUS_FAILPOINTS="celery.recorded:kill9", TASKBUS_LEASE="1")
    key = unique("followed")
    result = canvas(fleet, key).apply_async()
    assert doomed.wait(60) == -9
    fleet.taskbus_worker(TASKBUS_LEASE="1")
    assert got(result) == 5
    assert [line["value"] for line in fleet.lines(key)] == [5]
    assert got(fleet.sig("add", 1, 1).apply_async()) == 2  # what came twice would have come before
    assert len(fleet.lines(key)) == 1
