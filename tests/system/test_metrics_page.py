"""``/metrics`` of a real worker: counts against a ledger, and all that the dashboard and the alerts ask for."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
import sample
import yaml
from cli_runs import taskbus as command
from watching import Series, get, series, summed, url_of
from worker_process import StartWorker, Worker, wait_until

from taskbus import TaskBus
from taskbus.cli.metrics import shipped
from taskbus.clock import wall_clock
from taskbus.store.report_opening import open_reports

PROMETHEUS_OWN = {"up"}
SPOKEN = re.compile(r"\b([a-z_][a-z0-9_]*)\s*(?:\{([^}]*)\})?")


def test_counts_are_those_of_a_ledger_after_failures_retries_and_revocations(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    called_off = [sample.add.delay(0, 0) for _ in range(3)]
    late = [sample.add.options(expires=0.001).delay(0, 0) for _ in range(2)]
    with closing(open_reports(bus.results_url, wall_clock)) as reports:
        reports.order(msgpack.packb({"do": "revoke", "task_id": [each.id for each in called_off]}), time.time())
    url = url_of(start_worker("-c", "2", "--http", "0"))
    well = [sample.add.delay(number, 1) for number in range(300)]
    repeated = [sample.flaky.delay(str(tmp_path / f"r{i}"), 3) for i in range(4)]
    dead = [sample.flaky.delay(str(tmp_path / f"d{i}"), 99) for i in range(5)]
    refused = [sample.rejects.delay() for _ in range(6)]
    sent = [*called_off, *late, *well, *repeated, *dead, *refused]
    wait_until(lambda: all(each.state.is_final for each in sent), 60)
    killed = sample.dies.delay(str(tmp_path / "killed"))  # when nothing runs beside it that it would take along
    wait_until(lambda: killed.state.is_final, 60)
    ledger = {
        ("succeeded", "sample.add"): 300, ("succeeded", "sample.flaky"): 4, ("retried", "sample.flaky"): 4 * 2 + 5 * 2,
        ("failed", "sample.flaky"): 5, ("failed", "sample.dies"): 1, ("rejected", "sample.rejects"): 6,
        ("revoked", "sample.add"): 3 + 2, ("received", "sample.add"): 305, ("received", "sample.flaky"): 4 * 3 + 5 * 3,
        ("started", "sample.flaky"): 4 * 3 + 5 * 3, ("started", "sample.add"): 300,
    }  # fmt: skip

    def counted(found: Series) -> dict[tuple[str, str], float]:
        counts = {(what, task): summed(found, f"celery_task_{what}_total", name=task) for what, task in ledger}
        for what, task in ledger:
            if what == "received":  # what was fetched for a slot that was not free went back, and came again
                counts[what, task] -= summed(found, "taskbus_task_given_back_total", name=task)
        return counts

    wait_until(lambda: summed(series(url), "taskbus_task_failed_total") == 6, 60)
    found = series(url)
    assert counted(found) == ledger
    assert summed(found, "celery_task_failed_total", name="sample.flaky", exception="ValueError") == 5
    assert summed(found, "celery_task_failed_total") == summed(found, "taskbus_task_failed_total") == 6
    assert summed(found, "taskbus_task_expired_total", name="sample.add") == 2
    assert summed(found, "taskbus_task_crashed_total", name="sample.dies") == 2, "the third one is its end"
    for histogram in ("celery_task_runtime", "celery_task_queue_wait_time"):
        assert summed(found, f"{histogram}_count", name="sample.add") == 300
        assert summed(found, f"{histogram}_bucket", name="sample.add", le="+Inf") == 300
    assert summed(found, "taskbus_dlq_size") >= 0
    assert summed(found, "taskbus_worker_process_restarts_total", reason="died") >= 3


def test_what_is_counted_does_not_hang_on_reports(bus: TaskBus, start_worker: StartWorker) -> None:
    url = url_of(start_worker("-c", "1", "--http", "0", "--set", "reports=false"))
    assert [sample.add.delay(n, n).get(timeout=60) for n in range(20)] == [2 * n for n in range(20)]
    wait_until(lambda: summed(series(url), "celery_task_succeeded_total", name="sample.add") == 20, 60)
    assert summed(series(url), "taskbus_events_dropped_total") == 0


@pytest.fixture
def busy(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> Iterator[str]:
    """The address of a worker, with a beat beside it, that has seen a success, a failure and a schedule."""
    worker = start_worker("-c", "1", "-B", "--http", "0")
    done = [sample.add.delay(1, 1), sample.flaky.delay(str(tmp_path / "f"), 99)]
    added = command(
        "schedule", "add", "-A", "sample:app", "-b", bus.broker_url, "often", "sample.add", "1", "2", "--every", "0.5"
    )
    assert added.status == 0, added
    wait_until(lambda: all(each.state.is_final for each in done), 60)
    url = url_of(worker)
    wait_until(lambda: summed(series(url), "taskbus_schedule_sent_total", schedule="often") > 0, 60)
    wait_until(lambda: summed(series(url), "taskbus_beat_leader") == 1, 60)
    return url


def test_every_metric_and_label_of_the_dashboard_and_the_alerts_is_there(busy: str) -> None:
    wait_until(lambda: summed(series(busy), "taskbus_dlq_messages") >= 0 and "taskbus_dlq_size" in names(series(busy)))
    found = series(busy)
    labels = {name: {label for n, said in found if n == name for label, _ in said} for name in names(found)}
    asked = [*dashboard(), *alerts()]
    assert len(asked) > 50
    known = 0
    for expression in asked:
        for metric, selected in metrics_of(expression):
            if metric in PROMETHEUS_OWN:
                continue
            known += 1
            assert metric in labels, f"{expression}: no {metric} in /metrics"
            for label in selected - {"job", "instance"}:
                assert label in labels[metric], f"{expression}: {metric} has no {label}"
    assert known > 70


def names(found: Series) -> set[str]:
    return {name for name, _ in found}


def dashboard() -> list[str]:
    made = json.loads(shipped("dashboard"))
    asked = [target["expr"] for panel in made["panels"] for target in panel.get("targets", ())]
    variables = [each["query"]["query"] for each in made["templating"]["list"] if each["type"] == "query"]
    return asked + [f"{m[1]} by({m[2]})" for m in (re.match(r"label_values\((.*), (\w+)\)", v) for v in variables) if m]


def alerts() -> list[str]:
    rules = [rule for group in yaml.safe_load(shipped("alerts"))["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} <= rule["annotations"].keys()
    return [rule["expr"] for rule in rules]


def metrics_of(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that a query names, with the labels that it is selected by, and that of the ``by`` around it."""
    grouped = {
        label.strip() for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in labels.split(",")
    }
    for name, selector in SPOKEN.findall(expression):
        if name.startswith(("celery_", "taskbus_")) or name in PROMETHEUS_OWN:
            yield name, set(re.findall(r"(\w+)\s*[=!]~?", selector)) | (grouped - {""})


def test_the_page_says_what_there_is_where_something_else_is_asked_for(bus: TaskBus, start_worker: StartWorker) -> None:
    url = url_of(start_worker("-c", "1", "--http", "127.0.0.1:0"))
    status, body = get(f"{url}/nothing")
    assert (status, "/metrics" in json.loads(body)["advice"]) == (404, True)
    assert get(f"{url}/healthz/live?within=soon")[0] == 400


def test_an_address_in_use_keeps_a_worker_from_starting_and_is_named(bus: TaskBus, start_worker: StartWorker) -> None:
    address = url_of(start_worker("-c", "1", "--http", "0")).removeprefix("http://")
    second = start_worker("-c", "1", "--http", address)
    assert second.process.wait(60) == 2
    assert f"http='{address}' cannot be listened on" in second.log.read_text()


def test_without_prometheus_client_probes_work_and_the_line_for_pip_is_told(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    package = tmp_path / "without" / "prometheus_client"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("raise ModuleNotFoundError('none', name='prometheus_client')")
    worker = start_worker("-c", "1", "--http", "0", PYTHONPATH=f"{package.parent}:{sample.__file__.rpartition('/')[0]}")
    url = url_of(worker)
    wait_until(lambda: get(f"{url}/healthz/ready")[0] == 200, 60)
    status, body = get(f"{url}/metrics")
    assert (status, 'pip install "taskbus[metrics]"' in json.loads(body)["advice"]) == (501, True)
    assert 'pip install "taskbus[metrics]"' in worker.log.read_text()


def test_a_worker_that_is_not_to_be_watched_has_no_thread_for_it(bus: TaskBus, start_worker: StartWorker) -> None:
    plain, watched = start_worker("-c", "1"), start_worker("-c", "1", "--http", "0")
    url = url_of(watched)
    for worker in (plain, watched):
        wait_until(lambda worker=worker: "Ready in" in worker.log.read_text(), 60)
    wait_until(lambda: threads(watched) == threads(plain) + 1, what="one thread more, that listens")
    series(url)
    wait_until(lambda: threads(watched) == threads(plain) + 2, what="and one that looks at the queues, once asked")


def threads(worker: Worker) -> int:
    return len(list(Path(f"/proc/{worker.pid}/task").iterdir()))
