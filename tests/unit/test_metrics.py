"""The page of metrics: what Prometheus reads off it, by its own parser and its lint's rules, and how long it gets."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from taskbus import TaskBus
from taskbus.monitor.figures import Figures, Lookout, QueueFigures, ScheduleFigures, Sight, figures_of_all
from taskbus.monitor.histogram import BOUNDS, Histogram
from taskbus.monitor.metrics import RUNTIME_BOUNDS, WAIT_BOUNDS, Metrics
from taskbus.monitor.queue_look import QueueLook
from taskbus.monitor.report import NodeState, Total, pack_state, pack_totals, unpack_totals
from taskbus.store.reports import Node
from tests.unit.letters_rig import bury

NODE = NodeState("worker", "taskbus-7@web1", processes=4, slots=8, queues=("mail", "default"), active=2, held=5, rss=1)
UNITS = re.compile(r"(milliseconds|_ms|minutes|hours|kilobytes|megabytes|_kb|_mb|percent)(_|$)")


def histogram(*durations: float) -> Histogram:
    made = Histogram()
    for each in durations:
        made.add(each)
    return made


def total(task: str = "shop.buy", queue: str = "default", **counts: int) -> Total:
    started = counts.get("started", 0)
    return Total(task, queue, counts, histogram(*[0.2] * started), histogram(*[0.03] * started), {})


def full() -> Figures:
    """Something of everything."""
    counts = dict.fromkeys(
        ("sent", "received", "started", "succeeded", "retried", "failed", "rejected", "revoked", "expired", "crashed"),
        3,
    )
    return Figures(
        1000.0,
        [total(**counts, given_back=1)._replace(deaths={"shop.NoMoney": 2, "ValueError": 1})],
        "web1",
        [NODE, NodeState("beat", "b@web1", is_leader=True)],
        ["taskbus-9@web2"],
        Sight([QueueFigures("default", 5, 2, 1, 990.0, False, 3), QueueFigures("mail")], 3),
        [ScheduleFigures("nightly", 900.0, 7, 1, 2, 0.5)],
        {"died": 1, "retired": 2},
        True,
        4,
    )


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels; a series that is told twice is a fault."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in parse(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def page(figures: Figures, **options: object) -> str:
    return Metrics(lambda: figures, **options).page()[1].decode()  # type: ignore[arg-type]


def value(text: str, metric: str, /, **labels: str) -> float | None:
    return samples(text).get((metric, tuple(sorted(labels.items()))))


def lint(text: str) -> Iterable[str]:
    """What promtool's ``check metrics`` objects to. Source: prometheus/util/promlint."""
    for family in parse(text):
        if not family.documentation:
            yield f"{family.name}: no help"
        if family.type == "unknown":
            yield f"{family.name}: no type"
        if UNITS.search(family.name):
            yield f"{family.name}: not a base unit"
        if re.search(r"[A-Z]", family.name) or not re.fullmatch(r"[a-z_][a-z0-9_]*", family.name):
            yield f"{family.name}: no snake case"
        if family.type == "counter" and any(not sample.name.endswith("_total") for sample in family.samples):
            yield f"{family.name}: a counter without _total"
        if family.type != "counter" and family.name.endswith("_total"):
            yield f"{family.name}: _total, and no counter"
        if family.type == "gauge" and re.search(r"_(count|sum|bucket)$", family.name):
            allowed = family.name.startswith("celery_active_")  # celery-exporter's names, which dashboards have
            if not allowed:
                yield f"{family.name}: a suffix of histograms"


def test_every_family_has_help_and_type_and_no_series_is_told_twice() -> None:
    text = page(full())
    assert not list(lint(text))
    assert len(samples(text)) > 80
    told = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert [name for name, count in Counter(told).items() if count > 1] == []
    assert all(f"# TYPE {name} " in text for name in told)


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    content_type, body = Metrics(full).page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(body.decode())}
    assert {"celery_task_failed", "celery_task_runtime", "taskbus_build_info"} <= names


def test_counts_have_celery_exporters_names_and_labels() -> None:
    text = page(full())
    labels = {"name": "shop.buy", "hostname": "web1", "queue_name": "default"}
    for name in ("sent", "received", "started", "succeeded", "rejected", "retried"):
        assert value(text, f"celery_task_{name}_total", **labels) == 3, name
    assert value(text, "celery_task_revoked_total", **labels) == 6, "what has expired is revoked, as Celery says it"
    assert value(text, "celery_task_failed_total", exception="NoMoney", **labels) == 2
    assert value(text, "celery_task_failed_total", exception="ValueError", **labels) == 1
    assert value(text, "celery_task_failed_total", exception="", **labels) is None
    assert value(text, "celery_worker_up", hostname="web1") == 1
    assert value(text, "celery_worker_up", hostname="web2") == 0
    assert value(text, "celery_worker_tasks_active", hostname="web1") == 2
    assert value(text, "celery_active_process_count", queue_name="mail") == 4
    assert value(text, "celery_queue_length", queue_name="default") == 5
    assert value(text, "taskbus_queue_oldest_message_age_seconds", queue_name="default") == 10
    assert value(text, "taskbus_worker_utilization_ratio", hostname="web1") == 0.25


def test_failures_of_unknown_classes_are_counted_all_the_same() -> None:
    text = page(Figures(0.0, [total(failed=5)._replace(deaths={"E": 2})]))
    labels = {"name": "shop.buy", "hostname": "generic", "queue_name": "default"}
    assert value(text, "celery_task_failed_total", exception="", **labels) == 3
    assert value(text, "celery_task_failed_total", exception="E", **labels) == 2


def test_the_classes_of_failures_travel_with_a_report() -> None:
    told = total(failed=1)._replace(deaths={"ValueError": 1})
    assert unpack_totals(pack_totals([told]))[0].deaths == {"ValueError": 1}


def test_histograms_are_exact_at_their_bounds_and_have_no_hostname_unless_asked() -> None:
    assert set(RUNTIME_BOUNDS) | set(WAIT_BOUNDS) <= set(BOUNDS)
    runs, waits = histogram(0.005, 0.006, 9.99, 1e9), histogram(0.05, 0.051, 1999.0, 2001.0)
    figures = Figures(0.0, [Total("t", "q", {"started": 4}, waits, runs, {})], "web1")
    text = page(figures)
    of = {"name": "t", "queue_name": "q"}
    assert [value(text, "celery_task_runtime_bucket", le=le, **of) for le in ("0.005", "0.01", "10.0", "+Inf")] == [
        1, 2, 3, 4,
    ]  # fmt: skip
    assert [value(text, "celery_task_queue_wait_time_bucket", le=le, **of) for le in ("0.05", "0.1", "2000.0")] == [
        1, 2, 3,
    ]  # fmt: skip
    assert value(text, "celery_task_runtime_count", **of) == 4
    assert value(text, "celery_task_runtime_sum", **of) == pytest.approx(1e9 + 10.001)
    assert value(page(figures, by_host=True), "celery_task_runtime_count", hostname="web1", **of) == 4


def test_labels_are_bounded_and_no_count_moves_once_it_has_a_name() -> None:
    """Ten thousand names of tasks, queues and errors, as a hostile producer would send them."""
    many = [
        total(f"t{i}", f"q{i}", received=1, started=1, failed=1)._replace(deaths={f"E{i}": 1}) for i in range(10_000)
    ]
    seen = Figures(0.0, many[:50])
    metrics = Metrics(lambda: seen, limit=20)
    before = samples(metrics.page()[1].decode())
    seen = Figures(0.0, many[::-1], queues=Sight([QueueFigures(f"q{i}", 1) for i in range(10_000)], None))
    text = metrics.page()[1].decode()
    after = samples(text)
    assert before.keys() <= after.keys(), "what had a name keeps it"
    assert all(after[key] >= count for key, count in before.items()), "no counter goes back"
    for label, limit in (("name", 21), ("queue_name", 41), ("exception", 21)):
        assert len({dict(labels).get(label) for _, labels in after} - {None}) <= limit, label
    assert sum(count for (name, _), count in after.items() if name == "celery_task_received_total") == 10_000
    assert sum(count for (name, _), count in after.items() if name == "celery_task_failed_total") == 10_000
    assert sum(count for (name, _), count in after.items() if name == "celery_queue_length") == 10_000
    assert len(text) < 400_000


def test_hostile_names_are_told_as_text() -> None:
    name = 'x"} 1\nevil_metric{a="b'
    text = page(Figures(0.0, [total(name, "q\\", received=1), total("y" * 5000, received=2)]))
    assert value(text, "celery_task_received_total", name=name, hostname="generic", queue_name="q\\") == 1
    assert not any(key[0].startswith("evil") for key in samples(text))
    assert max(len(label) for _, labels in samples(text) for _, label in labels) <= 200


def test_a_scrape_of_a_hundred_tasks_in_twenty_queues_stays_cheap() -> None:
    totals = [
        total(f"shop.task_{t}", f"queue_{q}", received=9, started=9, succeeded=8, failed=1)
        for t in range(100)
        for q in range(20)
    ]
    figures = Figures(0.0, totals, "web1", [NODE])
    spent, size = {}, {}
    for limit in (200, 2000):
        metrics = Metrics(lambda: figures, limit=limit)
        size[limit] = len(metrics.page()[1])
        spent[limit] = min(cost(metrics.page) for _ in range(3))  # a collection of a large heap is none of it
    print({limit: f"{spent[limit] * 1e3:.0f} ms, {size[limit] >> 10} KiB" for limit in spent})
    assert size[200] < 1 << 20
    assert spent[200] < 0.5
    assert spent[200] < spent[2000] / 3, spent


def cost(work: Callable[[], object]) -> float:
    """Seconds of this thread's CPU."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def test_a_page_of_all_workers_tells_who_is_up_and_who_fell_silent() -> None:
    nodes = [
        Node("a-1", 3, 995.0, pack_state(NODE)),
        Node("a-2", 9, 996.0, pack_state(NODE._replace(name="taskbus-8@web1", active=3))),
        Node("b-1", 7, 900.0, pack_state(NODE._replace(name="taskbus-9@web2"))),
        Node("c-1", 7, 999.0, pack_state(NodeState("beat", "b@web3", is_leader=True))),
    ]
    text = page(figures_of_all(1000.0, [total(received=4)], nodes, Sight([QueueFigures("mail", 2)], 1)))
    assert value(text, "celery_worker_up", hostname="web1") == 1
    assert value(text, "celery_worker_up", hostname="web2") == 0
    assert value(text, "celery_worker_tasks_active", hostname="web1") == 5, "workers of one host are added up"
    assert value(text, "celery_active_worker_count", queue_name="mail") == 2
    assert value(text, "celery_active_process_count", queue_name="mail") == 8
    assert value(text, "taskbus_beat_leader", hostname="web3") == 1
    assert value(text, "taskbus_dlq_size") == 1
    labels = {"name": "shop.buy", "hostname": "generic", "queue_name": "default"}
    assert value(text, "celery_task_received_total", **labels) == 4
    assert not list(lint(text))


def test_a_look_at_the_queues_tells_what_waits_and_what_is_dead(tmp_path: Path) -> None:
    with TaskBus("looked-at", broker=f"sqlite:///{tmp_path}/bus.db") as bus:
        for queue in ("mail", "mail", "odd:name"):
            bus.send("t", queue=queue)
        bus.send("t", queue="mail", countdown=60)
        for task_id, queue in (("1", "mail"), ("2", "mail"), ("3", "odd:name")):
            bury(bus.store, task_id, queue=queue)
        look = QueueLook(bus.broker_url, bus.results_url, (), lambda: {"mail"})
        sight = look()
        look.close()
    assert sight is not None and sight.dead == 3
    mail, odd = (next(each for each in sight.queues if each.name == name) for name in ("mail", "odd:name"))
    assert (mail.ready, mail.delayed, mail.unacked, mail.is_paused, mail.dead) == (2, 1, 0, True, 2)
    assert (odd.ready, odd.is_paused, odd.dead) == (1, False, 1)
    assert mail.oldest_at is not None and abs(mail.oldest_at - time.time()) < 60


def test_a_broker_that_is_away_gives_no_figures_of_queues() -> None:
    look = QueueLook("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0", (), lambda: None)
    assert look() is None
    look.close()


def test_a_lookout_looks_when_asked_and_not_again_while_that_is_fresh() -> None:
    looks: list[float] = []

    def look() -> Sight:
        looks.append(time.monotonic())
        return Sight([QueueFigures("q", len(looks))], None)

    lookout = Lookout(look, fresh_for=60.0, patience=10.0)
    assert not [each for each in threading.enumerate() if each.name == "taskbus-lookout"]
    first, second = lookout.seen(), lookout.seen()
    lookout.close()
    assert first is not None and first == second
    assert len(looks) == 1


def test_who_asks_a_lookout_that_hangs_gets_what_was_seen_last() -> None:
    may_go_on = threading.Event()
    sights = iter([Sight([QueueFigures("q", 1)], None)])

    def look() -> Sight | None:
        sight = next(sights, None)
        if sight is None:
            may_go_on.wait(30)
        return sight

    lookout = Lookout(look, fresh_for=0.0, patience=0.2)
    seen = lookout.seen()
    started = time.monotonic()
    assert seen is not None and lookout.seen() == seen
    assert time.monotonic() - started < 5.0
    may_go_on.set()
    lookout.close()
