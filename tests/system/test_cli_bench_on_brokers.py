"""``taskbus bench`` across the network: the document has every figure, on every kind of broker."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import taskbus

from taskbus import TaskBus
from taskbus.database.urls import redacted
from tests.crash.grounds import GROUNDS
from tests.crash.place import Place
from tests.crash.town import Town

TASKS = 100
SINGLE = {"publish one by one", "end to end, sent one by one"}
BATCH = {"publish in batches", "drain a filled queue", "end to end, sent in batches"}
LATENCY = "latency, delay to get"
TIMED = {"publish one by one", LATENCY}
"""Figures of single calls, which have percentiles."""


@pytest.fixture(params=["redis", "rabbitmq+redis", "postgresql"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of this test's own; skipped, but never in CI, where its servers are not installed."""
    ground = GROUNDS[request.param]
    if why := ground.obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    with Town() as town:
        place = ground.open(tmp_path / "place", town)
        yield place
        place.remove()


def test_the_bench_measures_every_figure_on_servers(place: Place) -> None:
    results = ("--results", place.results_url) if place.results_url else ()
    words = ("--tasks", TASKS, "--processes", 1, "-b", place.broker_url, *results, "-o", "json")
    done = taskbus("bench", *words)
    assert done.status == 0, done.err

    document = done.json
    assert (document["version"], document["mode"], document["processes"]) == (1, "all", 1)
    assert document["broker"] == redacted(place.broker_url)
    assert document["results"] == redacted(place.results_url or place.broker_url)
    assert {"cpu", "cores", "kernel", "python", "taskbus"} <= set(document["machine"])

    measures = {(each["name"], each["results"]): each for each in document["measures"]}
    assert len(measures) == len(document["measures"])
    wanted = {(name, is_kept) for name in SINGLE | BATCH for is_kept in (False, True)}
    assert set(measures) == {*wanted, (LATENCY, True)}
    for (name, _), measure in measures.items():
        assert measure["tasks_per_second"] > 0 and measure["seconds"] > 0, measure
        if name == "drain a filled queue":  # from the first task seen done, which is after some were
            assert 0 < measure["tasks"] <= TASKS
        else:
            assert measure["tasks"] == TASKS
        if name in TIMED:
            assert 0 < measure["p50"] <= measure["p95"] <= measure["p99"]
        else:
            assert measure["p50"] is measure["p95"] is measure["p99"] is None

    with TaskBus("bench", broker=place.broker_url, results=place.results_url or None) as app:
        if app.broker.features.lists:  # on RabbitMQ a queue is seen by those alone who know its name
            left = [size for size in app.broker.queues() if size.name.startswith("bench-")]
            assert sum(size.ready + size.delayed + size.running for size in left) == 0
