"""Two applications on one broker, kept apart by ``?prefix=``: neither hears what is said to the other."""

from collections.abc import Iterator
from functools import partial

import pytest
from celery import Celery

from taskbus.broker.monitoring.asking import ask, tell
from taskbus.broker.monitoring.place import place_of
from tests.interop.stage import NODE, Place, Stage, heartbeats, wait_until

OTHER = "other@interop"


def celery_of(url: str, prefix: str) -> Celery:
    """Celery's client as ``docs/howto/monitor_with_flower.md`` has it set up for a prefix."""
    client = Celery("tools", broker=url)
    if url.startswith("redis"):
        client.conf.broker_transport_options = {"global_keyprefix": f"{prefix}:"}
    else:
        client.conf.update(control_exchange=f"{prefix}celery", event_exchange=f"{prefix}celeryev")
    return client


@pytest.fixture(scope="module")
def urls(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of two applications, by prefix; each has a worker that is up."""
    urls = {prefix: f"{place.url}?prefix={prefix}" for prefix in ("shop", "bank")}
    stages = []
    try:
        for (prefix, url), node in zip(urls.items(), (NODE, OTHER), strict=True):
            stage = Stage(tmp_path_factory.mktemp(prefix), Place(url))
            stages.append(stage)
            there = place_of(url)
            stage.start_worker(name=node, ping=partial(ask, there, "ping", {}, nodes=[], timeout=1))
        yield urls
    finally:
        for stage in stages:
            stage.close()


def test_who_asks_one_application_hears_of_no_other(urls: dict[str, str], place: Place) -> None:
    pong = {"ok": "pong"}
    assert ask(place_of(urls["shop"]), "ping", {}, nodes=[], timeout=2) == {NODE: pong}
    assert ask(place_of(urls["bank"]), "ping", {}, nodes=[], timeout=2) == {OTHER: pong}
    assert ask(place_of(place.url), "ping", {}, nodes=[], timeout=2) == {}


def test_what_is_said_to_all_reaches_one_application_only(urls: dict[str, str]) -> None:
    shop, bank = (place_of(url) for url in urls.values())
    tell(shop, "revoke", {"task_id": "t1"}, nodes=[])

    def revoked(there: object) -> list[list[str]]:
        return list(ask(there, "revoked", {}, nodes=[], timeout=1).values())  # type: ignore[arg-type]  # a place

    wait_until(lambda: revoked(shop) == [["t1"]], "the order is heard")
    assert revoked(bank) == [[]]


@pytest.mark.parametrize(("prefix", "node"), [("shop", NODE), ("bank", OTHER)])
def test_celerys_client_with_the_same_prefix_meets_its_application(
    urls: dict[str, str], place: Place, prefix: str, node: str
) -> None:
    client = celery_of(place.url, prefix)
    assert client.control.ping(timeout=2) == [{node: {"ok": "pong"}}]
    assert set(heartbeats(client, 3)) == {node}
    client.close()


def test_orders_of_celerys_client_stay_in_its_application(urls: dict[str, str], place: Place) -> None:
    client = celery_of(place.url, "shop")
    client.control.broadcast("shutdown")
    wait_until(lambda: ask(place_of(urls["shop"]), "ping", {}, nodes=[], timeout=1) == {}, "one worker ends")
    assert ask(place_of(urls["bank"]), "ping", {}, nodes=[OTHER], timeout=5) == {OTHER: {"ok": "pong"}}
    client.close()
