"""How many connections an idle worker has with all settings at their defaults: what ``scaling.md`` says."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from taskbus.broker.monitoring.asking import ask
from taskbus.broker.monitoring.place import place_of
from tests.interop.stage import NODE, Place, Stage, open_place, wait_until
from tests.servers.postgres_server import server_of_its_own
from tests.servers.redis_server import RedisServer
from tests.servers.server import own_folder

Names = Callable[[], list[str]]
"""What each connection to a server calls itself, in order, but for that of who asks."""


def of_redis(server: RedisServer) -> list[str]:
    lines = server.cli("CLIENT", "LIST").decode().splitlines()
    told = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    return sorted(client["name"] for client in told if client["cmd"] != "client|list")


@contextmanager
def redis() -> Iterator[tuple[str, Names]]:
    server = RedisServer(own_folder("redis", None))
    server.start()
    try:
        yield server.url, partial(of_redis, server)
    finally:
        server.kill()


@contextmanager
def rabbitmq() -> Iterator[tuple[str, Names]]:
    with open_place("rabbitmq") as place:

        def names() -> list[str]:
            request = Request(place.api_url.replace("guest:guest@", "") + "connections")
            request.add_header("Authorization", f"Basic {b64encode(b'guest:guest').decode()}")
            with urlopen(request, timeout=30) as answer:
                told = json.load(answer)
            return sorted(str(each.get("client_properties", {}).get("product", "")) for each in told)

        yield place.url, names


@contextmanager
def postgresql() -> Iterator[tuple[str, Names]]:
    with server_of_its_own() as server:  # on the shared one are connections of other tests

        def names() -> list[str]:
            rows = server.run(
                "SELECT application_name FROM pg_stat_activity WHERE datname = 'taskbus' AND pid <> pg_backend_pid()"
            )
            return sorted(name for (name,) in rows)

        yield server.url(), names


@pytest.mark.parametrize(
    ("server", "settings", "settled"),
    [
        (redis, [], ["taskbus", "taskbus", "taskbus-monitoring", "taskbus-monitoring"]),
        (redis, ["reports=off"], ["taskbus", "taskbus-monitoring", "taskbus-monitoring"]),
        (redis, ["reports=off", "remote_control=off"], ["taskbus"]),
        (rabbitmq, [], ["TaskBus", "py-amqp"]),
        (postgresql, [], ["taskbus", "taskbus"]),
    ],
)
def test_an_idle_worker_has_the_connections_that_the_docs_count(
    server: Callable[[], AbstractContextManager[tuple[str, Names]]],
    settings: Sequence[str],
    settled: list[str],
    tmp_path: Path,
) -> None:
    options = [word for setting in settings for word in ("--set", setting)]
    with server() as (url, names):
        stage = Stage(tmp_path, Place(url))
        try:
            if server is postgresql or "remote_control=off" in settings:
                stage.start_worker(*options, ping=lambda: len(names()) >= len(settled))
            else:
                stage.start_worker(*options, ping=partial(ask, place_of(url), "ping", {}, nodes=[NODE], timeout=1))
            seen: list[list[str]] = []

            def has_settled() -> bool:
                """Ten looks in a row, of half a second together, have found the same."""
                seen.append(names())
                return len(seen) >= 10 and all(look == settled for look in seen[-10:])

            wait_until(has_settled, f"{settled}")
        finally:
            stage.close()
