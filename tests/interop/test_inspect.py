"""What a worker says when Celery's own client asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskbus import AsyncResult
from tests.interop.stage import NODE, Stage, wait_until

QUEUE_KEYS = {
    "name", "exchange", "routing_key", "queue_arguments", "binding_arguments", "consumer_arguments", "durable",
    "exclusive", "auto_delete", "no_ack", "alias", "bindings", "no_declare", "expires", "message_ttl", "max_length",
    "max_length_bytes", "max_priority",
}  # fmt: skip
REQUEST_KEYS = {
    "id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged", "delivery_info", "worker_pid",
}  # fmt: skip
TASKS = "tests.interop.work_app"


@contextmanager
def busy(stage: Stage, tmp_path: Path, count: int = 2) -> Iterator[list[AsyncResult[Any]]]:
    """Tasks that run until the block ends, and have ended then."""
    gate = tmp_path / "gate"
    results = [stage.bus.tasks[f"{TASKS}.wait_for"].delay(str(gate)) for _ in range(count)]
    ids = {result.id for result in results}
    try:
        wait_until(lambda: len(ids & {task["id"] for task in stage.ask("active")}) == min(2, count), "they run")
        yield results
    finally:
        gate.touch()
    for result in results:
        assert result.get(timeout=30) == "seen"


def test_a_ping_is_answered_as_celery_does(stage: Stage) -> None:
    assert stage.client.control.ping(destination=[NODE], limit=1) == [{NODE: {"ok": "pong"}}]


def test_only_who_is_meant_answers(stage: Stage) -> None:
    control = stage.client.control
    assert control.broadcast("ping", destination=["other@host"], reply=True, timeout=0.5) == []
    assert control.broadcast("ping", pattern="stage@*", matcher="glob", reply=True, limit=1) == [{NODE: {"ok": "pong"}}]
    assert control.broadcast("ping", pattern="other@*", matcher="glob", reply=True, timeout=0.5) == []


def test_what_runs_is_told_with_since_when_and_where(stage: Stage, tmp_path: Path) -> None:
    with busy(stage, tmp_path) as results:
        told = {task["id"]: task for task in stage.ask("active")}
        assert told.keys() == {result.id for result in results}
        for task in told.values():
            assert task.keys() == REQUEST_KEYS
            assert (task["name"], task["args"], task["hostname"]) == (
                f"{TASKS}.wait_for",
                [str(tmp_path / "gate")],
                NODE,
            )
            assert task["delivery_info"].keys() == {"exchange", "routing_key", "priority", "redelivered"}
            assert task["worker_pid"] in stage.ask("stats")["pool"]["processes"]
            assert isinstance(task["time_start"], float)
        safe = stage.ask("active", safe=True)
        assert {task["args"] for task in safe} == {repr([str(tmp_path / "gate")])}
        first = results[0].id
        assert stage.ask("query_task", ids=[first, "unknown"]) == {first: ["active", told[first]]}
    wait_until(lambda: stage.ask("active") == [], "nothing runs any more")


def test_stats_have_what_celery_has(stage: Stage) -> None:
    before = stage.ask("stats")["total"].get(f"{TASKS}.add", 0)
    add = stage.bus.tasks[f"{TASKS}.add"]
    assert add.delay(1, 2).get(timeout=30) == 3
    stats = wait_until(
        lambda: (said := stage.ask("stats"))["total"].get(f"{TASKS}.add", 0) > before and said, "the task is counted"
    )
    assert stats.keys() >= {"total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"}
    assert stats["pool"]["max-concurrency"] == 2 and len(stats["pool"]["processes"]) == 2
    assert stats["clock"].isdigit() and len(stats["rusage"]) == 16
    assert stats["broker"]["transport"] in ("redis", "amqp", "pyamqp") and "password" not in stats["broker"]
    assert stats["pid"] == stage.worker.process.pid


def test_queues_are_described_as_kombu_does(stage: Stage) -> None:
    (queue,) = stage.ask("active_queues")
    assert queue.keys() == QUEUE_KEYS
    assert (queue["name"], queue["routing_key"], queue["durable"]) == ("default", "default", True)
    assert queue["exchange"]["type"] == "direct"


def test_tasks_and_settings_are_told_without_secrets(stage: Stage) -> None:
    assert stage.ask("registered") == sorted(stage.bus.tasks)
    conf = stage.ask("conf")
    assert conf["broker_url"] and "guest:guest" not in str(conf)
    assert conf["telemetry"] is True and conf["remote_control"] == "auto"
    assert "taskbus:" in stage.ask("report")["ok"]


@pytest.mark.parametrize("method", ["scheduled", "reserved", "revoked"])
def test_lists_of_nothing_are_lists(stage: Stage, method: str) -> None:
    assert stage.ask(method) == []


@pytest.mark.parametrize(
    ("old", "new"), [("dump_active", "active"), ("dump_tasks", "registered"), ("dump_revoked", "revoked")]
)
def test_older_names_of_commands_are_understood(stage: Stage, old: str, new: str) -> None:
    assert stage.ask(old) == stage.ask(new)


def test_memory_clock_and_hello(stage: Stage) -> None:
    assert stage.ask("memsample").endswith("MB")
    assert "rss (end)" in stage.ask("memdump", samples=3)
    first = stage.ask("clock")["clock"]
    assert stage.ask("clock")["clock"] > first
    said = stage.ask("hello", from_node="celery@other", revoked={"old-form": 1.0})
    assert said["revoked"] == ["old-form"] and said["clock"] > first
    assert stage.ask("hello", from_node=NODE) is None


def test_what_cannot_be_is_answered_as_an_error(stage: Stage) -> None:
    assert stage.ask("nonsense") == {"error": "KeyError('nonsense')"}
    assert stage.ask("rate_limit")["error"].startswith("TypeError(")
    assert stage.ask("objgraph") == {"error": "ImportError('Requires the objgraph library')"}
