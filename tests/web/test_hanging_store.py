"""A broker or store that hangs (it is stopped in its tracks) holds up a request now and then, not the server."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.servers.postgres_server import server_of_its_own
from tests.servers.redis_server import RedisServer
from tests.servers.server import Server
from tests.web.test_running import free_port, get, started, wait_for

__all__ = ["started"]
QUICK = 2.0
"""Seconds: far less than a store is waited for, far more than an answer takes on a busy machine."""


class Answer(NamedTuple):
    status: int
    took: float
    said: Any


def ask(port: int, path: str) -> Answer:
    began = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=60) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return Answer(status, time.monotonic() - began, json.loads(body))


@pytest.fixture(params=["redis", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server of the test's own, and its URL."""
    if request.param == "postgresql":
        with server_of_its_own() as postgres:
            yield postgres, postgres.url()
        return
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    yield redis, redis.url
    redis.resume()
    redis.kill()


def test_one_request_a_while_waits_for_a_store_that_hangs_and_all_others_are_told_at_once(
    started: Any, place: tuple[Server, str]
) -> None:
    (server, url), port = place, free_port()
    web = started("web", "-b", url, "--port", str(port))
    wait_for(lambda: not get(port, "overview")["problems"][1:], "the server is well")
    for path in ("dlq", "queues", "tasks", "schedules"):
        assert ask(port, path).status == 200
    server.pause()
    assert ask(port, "dlq").status == 503
    began, seen = time.monotonic(), []
    with ThreadPoolExecutor(12) as crowd:
        while time.monotonic() - began < 8:
            paths = ["dlq", "queues", "schedules", "nodes", "flows", "dlq/groups", "scaling", "me"] * 2
            seen += crowd.map(lambda path: ask(port, path), paths)
    slow = [each.took for each in seen if each.took > QUICK]
    assert len(slow) <= 4 and len(seen) > 40, (slow, len(seen))
    for answer in seen:
        assert answer.status in (200, 503)
        if answer.status == 503:
            assert "asked again" in answer.said["error"] or answer.took > QUICK, answer
            assert answer.said["advice"]
    system = ask(port, "system")
    assert system.status == 200 and system.took < 6.5, system.took
    assert system.said["broker"]["error"] and system.said["results"]["error"]
    assert ask(port, "me").took < QUICK
    problems = ask(port, "overview")
    assert problems.status == 503 or any(each["kind"] == "store" for each in problems.said["problems"])
    server.resume()
    wait_for(lambda: ask(port, "dlq").status == 200 and not get(port, "overview")["problems"][1:], "it is well again")
    assert web.stop() == 0
    log = web.log.read_text()
    assert "Traceback" not in log and log.count("does not answer in time") < 8


def test_a_store_that_hangs_from_the_very_first_is_told_of_soon(started: Any, place: tuple[Server, str]) -> None:
    (server, url), port = place, free_port()
    started("web", "-b", url, "--port", str(port))
    wait_for(lambda: get(port, "me"), "the server is up")
    server.pause()
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda path: ask(port, path), ["queues", "dlq", "nodes", "system"] * 2))
    assert max(each.took for each in answers) < 12, answers
    assert ask(port, "me").took < QUICK
