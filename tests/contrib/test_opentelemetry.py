"""One trace from the request that sends a task to the tasks that one sends: real workers, every kind of slot."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import traced_app
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from taskbus_opentelemetry import OpenTelemetry, middleware

from taskbus import PublishFailed, Reject, TaskBus
from taskbus.context import Context
from taskbus.errors import Replaced, RetryRequested
from taskbus.store.base import Filter
from tests.system.worker_process import Worker, wait_until

HERE = Path(__file__).parent


class Rig:
    """This process as the sender, with its own spans, and a worker of ``traced_app`` with those of its runners."""

    def __init__(self, folder: Path, monkeypatch, *options: str, **environment: str) -> None:
        self.url = f"sqlite:///{folder}/traced.db"
        self.spans_file = folder / "spans.jsonl"
        self.own = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.own))
        self.tracer = provider.get_tracer("web")
        monkeypatch.setattr(middleware.trace, "get_tracer", lambda *_: self.tracer)
        self.app = TaskBus("traced", broker=self.url, results=self.url, middleware=[OpenTelemetry()])
        self.worker = Worker(
            self.url, folder, "--log-format", "json", *options, app="traced_app:app", SPANS=str(self.spans_file),
            TASKBUS_RESULTS=self.url, PYTHONPATH=os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", ""))),
            **environment,
        )  # fmt: skip

    def send(self, name: str, *args):
        return self.app.send(f"traced_app.{name}", args)

    def told(self) -> list[dict]:
        """The spans of runners and of this process."""
        lines = self.spans_file.read_text().splitlines() if self.spans_file.exists() else []
        return [*map(json.loads, lines), *map(traced_app.told, self.own.get_finished_spans())]

    def named(self, name: str, task: str) -> list[dict]:
        return [
            span for span in self.told()
            if span["name"] == name and span["attributes"]["taskbus.task.name"] == f"traced_app.{task}"
        ]  # fmt: skip

    def one(self, name: str, task: str) -> dict:
        wait_until(lambda: self.named(name, task), 30, f"a span {name} of {task}")
        (span,) = self.named(name, task)
        return span

    def logged(self) -> list[dict]:
        lines = self.worker.log.read_text().splitlines()
        return [line for line in (json.loads(text) for text in lines if text.startswith("{")) if "logger" in line]


@pytest.fixture
def rig(tmp_path, monkeypatch):
    @contextmanager
    def rigged(*options: str, **environment: str):
        rig = Rig(tmp_path, monkeypatch, *options, **environment)
        with rig.worker, rig.app:
            yield rig

    return rigged


SLOTS = [
    pytest.param("parent", ("-P", "prefork", "-c", "2"), id="main thread"),
    pytest.param("parent", ("-P", "threads", "-c", "4"), id="threads"),
    pytest.param("aparent", ("-P", "asyncio", "-c", "10"), id="coroutines"),
    pytest.param(
        "parent",
        (
            "-P",
            "solo",
        ),
        id="solo",
    ),
    pytest.param("parent", ("-c", "2", "--set", "start_method=spawn"), id="spawned"),
]


@pytest.mark.parametrize(("task", "options"), SLOTS)
def test_from_a_request_to_the_child_of_its_task_it_is_one_trace(rig, task, options):
    with rig(*options) as rig:
        with rig.tracer.start_as_current_span("GET /order") as request:
            result = rig.send(task, 7)
        assert result.get(timeout=60) == 7
        sends = [rig.one("send default", name) for name in (task, "child")]
        runs = [rig.one("process default", name) for name in (task, "child")]
        chain = [trace.format_span_id(request.get_span_context().span_id)]
        for span in (sends[0], runs[0], sends[1], runs[1]):
            assert span["parent"] == chain[-1]
            chain.append(span["id"])
        assert {span["trace"] for span in (*sends, *runs)} == {
            trace.format_trace_id(request.get_span_context().trace_id)
        }
        assert [span["kind"] for span in (*sends, *runs)] == ["PRODUCER", "PRODUCER", "CONSUMER", "CONSUMER"]
        assert not any(span["links"] for span in (*sends, *runs))
        assert runs[0]["attributes"]["messaging.message.id"] == result.id


def test_each_line_logged_in_a_task_has_its_trace(rig):
    with rig("-c", "1") as rig:
        rig.send("parent", 1).get(timeout=60)
        run = rig.one("process default", "parent")
        rig.one("process default", "child")
        (line,) = [line for line in rig.logged() if line["message"] == "parent 1"]
        assert (line["trace_id"], line["span_id"]) == (run["trace"], run["id"])
        (line,) = [line for line in rig.logged() if line["message"] == "child 1"]
        assert line["trace_id"] == run["trace"] and line["span_id"] != run["id"]


def test_a_second_attempt_is_a_trace_of_its_own_that_links_to_the_send(rig):
    with rig("-c", "1") as rig:
        assert rig.send("flaky").get(timeout=60) == "well"
        wait_until(lambda: len(rig.named("process default", "flaky")) == 2, 30, "two attempts")
        first, second = rig.named("process default", "flaky")
        send = rig.one("send default", "flaky")
        assert first["parent"] == send["id"] and first["links"] == []
        assert second["parent"] is None and second["links"] == [send["id"]] and second["trace"] != first["trace"]
        assert (first["status"], first["events"]) == ("ERROR", ["retry"])
        assert (second["status"], second["attributes"]["taskbus.task.retries"]) == ("UNSET", 1)


def test_a_replayed_dead_letter_links_to_the_send(rig, tmp_path):
    with rig("-c", "1", "--set", "grace=1") as rig:
        sent = rig.send("broken", str(tmp_path / "gate"))
        wait_until(lambda: rig.app.store.count_dead_letters(Filter()) == 1, 60, "it is dead")
        first = rig.one("process default", "broken")
        assert first["status"] == "ERROR" and first["events"] == ["exception"]
        assert first["attributes"]["error.type"] == "LookupError"
        (tmp_path / "gate").touch()
        replay(rig, sent.id)
        wait_until(lambda: len(rig.named("process default", "broken")) == 2, 30, "it ran again")
        send = rig.one("send default", "broken")
        assert rig.named("process default", "broken")[-1]["links"] == [send["id"]]


def replay(rig: Rig, task_id: str) -> None:
    command = [
        sys.executable,
        "-m",
        "taskbus",
        "-b",
        rig.url,
        "--results",
        rig.url,
        "dlq",
        "replay",
        "--where",
        f"id:{task_id}",
        "--yes",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_spans_are_named_as_celerys_where_that_is_asked_for(rig):
    with rig("-c", "1", STYLE="celery") as rig:
        rig.send("child", 1).get(timeout=60)
        run = rig.one("run/traced_app.child", "child")
        assert run["attributes"]["celery.action"] == "run"


# --- without a worker -------------------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(middleware.trace, "get_tracer", lambda *_: provider.get_tracer("here"))
    return exporter


SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def ran(tracing: OpenTelemetry, error: BaseException | None = None, **fields) -> None:
    context = Context("id", "shop.mail", **{"sent_at": time.time(), "headers": {"traceparent": SENT}, **fields})
    try:
        with tracing.running(context):
            if error is not None:
                raise error
    except BaseException as raised:
        if raised is not error:
            raise


@pytest.mark.parametrize(
    ("propagation", "fields", "is_child"),
    [
        ("auto", {}, True),
        ("auto", {"attempt": 2}, False),
        ("auto", {"sent_at": time.time() - 3600}, False),
        ("auto", {"headers": {"traceparent": SENT, "taskbus-schedule": "nightly"}}, False),
        ("auto", {"headers": {"traceparent": SENT, "traceparent-sent-at": "1.5"}}, False),
        ("parent", {"attempt": 2}, True),
        ("link", {}, False),
    ],
)
def test_whether_an_attempt_is_a_child_or_links(spans, propagation, fields, is_child):
    ran(OpenTelemetry(propagation=propagation), **fields)
    (span,) = map(traced_app.told, spans.get_finished_spans())
    assert (span["parent"] == "00f067aa0ba902b7") is is_child
    assert (span["links"] == ["00f067aa0ba902b7"]) is not is_child
    assert (span["trace"] == SENT.split("-")[1]) is is_child


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-00", SENT.upper() + "-x"])
def test_a_header_that_is_none_begins_a_trace(spans, header):
    ran(OpenTelemetry(), headers={"traceparent": header})
    (span,) = map(traced_app.told, spans.get_finished_spans())
    assert span["parent"] is None and span["links"] == []


@pytest.mark.parametrize(
    ("error", "status", "events"),
    [
        (ValueError("x"), "ERROR", ["exception"]),
        (RetryRequested("later", 1.0), "ERROR", ["retry"]),
        (Reject("no"), "ERROR", ["reject"]),
        (Replaced(None), "UNSET", ["replaced"]),
    ],
)
def test_how_an_attempt_ended_is_on_its_span(spans, error, status, events):
    ran(OpenTelemetry(), error)
    (span,) = map(traced_app.told, spans.get_finished_spans())
    assert (span["status"], span["events"]) == (status, events)


@pytest.mark.parametrize("error", [ValueError, Reject, RetryRequested])
def test_an_error_is_told_without_the_secrets_that_it_quotes(spans, error):
    ran(OpenTelemetry(), error("postgresql://bob:hunter2@db/shop refused card 4242 4242 4242 4242, password=hunter2"))
    told = everything_of(spans)
    assert "hunter2" not in told and "4242 4242" not in told
    assert "postgresql://bob:***@db/shop refused card ***" in told


def everything_of(spans: InMemorySpanExporter) -> str:
    return "".join(span.to_json() for span in spans.get_finished_spans())


@pytest.mark.parametrize(
    ("task", "options"),
    [("refused", ("-c", "1")), ("refused", ("-P", "solo")), ("arefused", ("-P", "asyncio", "-c", "2"))],
)
def test_of_a_secret_argument_that_an_error_quotes_nothing_is_told(rig, task, options):
    with rig(*options) as rig:
        rig.send(task, "hunter2secret", "B-AD 1234")
        span = rig.one("process default", task)
    assert span["said"].count("refused *** of ***") == 3, "in the status, in the message, in the traceback"
    for event in ("Traceback", "LookupError", f"in {task}"):
        assert event in span["said"]
    assert "hunter2" not in str(span) and "B-AD" not in str(span)


def test_a_send_that_fails_says_so_and_nothing_of_the_arguments(spans, tmp_path):
    app = TaskBus(
        "x", broker="redis://127.0.0.1:1/0", results=f"sqlite:///{tmp_path}/x.db", middleware=[OpenTelemetry()]
    )
    with app, pytest.raises(PublishFailed):
        app.send("shop.pay", ["4000-1234"], {"pin": "secret-pin"})
    (span,) = map(traced_app.told, spans.get_finished_spans())
    assert span["status"] == "ERROR" and span["attributes"]["error.type"].endswith("PublishFailed")
    assert "secret-pin" not in everything_of(spans) and "4000-1234" not in everything_of(spans)
    assert "PublishFailed" in span["said"] and "Traceback" in span["said"]


def test_counts_and_durations_are_measured_by_the_names_of_the_conventions(spans, monkeypatch, tmp_path):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(middleware.metrics, "get_meter", lambda *_: provider.get_meter("here"))
    tracing = OpenTelemetry()
    ran(tracing)
    ran(tracing, ValueError("x"))
    with TaskBus("x", broker=f"sqlite:///{tmp_path}/x.db", middleware=[tracing]) as app:
        app.send("shop.mail")
    found = {
        metric.name: [(point.attributes.get("error.type"), getattr(point, "value", None) or point.count) for point in
                      metric.data.data_points]
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }  # fmt: skip
    assert {name: sorted(points, key=str) for name, points in found.items()} == {
        "messaging.client.sent.messages": [(None, 1)],
        "messaging.client.operation.duration": [(None, 1)],
        "messaging.client.consumed.messages": [("ValueError", 1), (None, 1)],
        "messaging.process.duration": [("ValueError", 1), (None, 1)],
    }


@pytest.mark.parametrize("wrong", [{"propagation": "child"}, {"style": "mine"}])
def test_what_is_none_of_the_choices_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        OpenTelemetry(**wrong)
