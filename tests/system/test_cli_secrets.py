"""What lists print holds no secrets of tasks, as on the page and in a worker's log; one letter is shown in full."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sample
from cli_runs import taskbus
from worker_process import StartWorker, wait_until

from taskbus import TaskBus, chain
from taskbus.store.flows import FlowState

SECRET = "hunter2-of-ann"
FORMATS = ("table", "json", "jsonl", "csv")


@pytest.fixture(autouse=True)
def place(bus: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' queue is that of the test."""
    monkeypatch.setenv("TASKBUS_BROKER", bus.broker_url)


@pytest.fixture
def failed(bus: TaskBus, start_worker: StartWorker) -> Iterator[str]:
    """The id of a workflow whose first task died of an error that quotes its password; the task has a letter."""
    result = chain(sample.logs_and_fails.s(password=SECRET, lines=1), sample.record.si("notes", "never")).delay()
    start_worker("-c", "1")
    wait_until(lambda: bus.flow(result.flow_id).state is FlowState.FAILURE, what="the end of the workflow")
    yield str(result.flow_id)


def letter_id() -> str:
    (item,) = taskbus("dlq", "list", "-o", "json").json["items"]
    return str(item["task_id"])


@pytest.mark.parametrize("output", FORMATS)
def test_no_list_and_no_page_of_a_task_prints_a_secret_that_its_error_quotes(failed: str, output: str) -> None:
    commands = (
        ("dlq", "list"), ("dlq", "groups"), ("tasks", "list"), ("tasks", "show", letter_id()), ("flow", "show", failed),
    )  # fmt: skip
    for command in commands:
        done = taskbus(*command, "-o", output)
        assert done.status == 0, command
        assert "cannot log in with ***" in done.out, (command, done.out)
        assert SECRET not in done.out + done.err, (command, done.out)


def test_who_asks_for_one_letter_or_result_by_its_id_sees_all_of_it(failed: str) -> None:
    task_id = letter_id()
    for command in (("dlq", "show", task_id), ("result", task_id, "--traceback")):
        assert f"cannot log in with {SECRET}" in taskbus(*command).out
    letter = taskbus("dlq", "show", task_id, "-o", "json").json
    assert (letter["kwargs"]["password"], letter["message"]) == (SECRET, f"cannot log in with {SECRET}")


def test_a_setting_names_more_secrets(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1")
    result = sample.flaky.delay(path=str(tmp_path / "ran"), succeed_at=4)
    wait_until(lambda: result.state.is_final, what="its death")
    assert "attempt 3" in taskbus("dlq", "list").out
    hidden = taskbus("tasks", "list", "-o", "json", TASKBUS_REDACT="path").json["items"]
    assert str(tmp_path) not in hidden[0]["kwargs"]


def test_a_queue_is_looked_into_without_the_secrets_of_what_waits(bus: TaskBus) -> None:
    sample.logs_and_fails.delay(password=SECRET, lines=2)
    sample.logs_and_fails.delay(SECRET, 3)
    for output in FORMATS:
        done = taskbus("queues", "peek", "default", "-o", output, "-A", "sample:app")
        assert done.out.count("***") == 2 and SECRET not in done.out, done.out
    named, positional = taskbus("queues", "peek", "default", "-o", "json", "-A", "sample:app").json["items"]
    assert (named["args"], named["kwargs"]) == ([], {"password": "***", "lines": 2})
    assert (positional["args"], positional["kwargs"]) == (["***", 3], {})


def test_a_password_in_an_argument_s_url_is_not_shown_in_a_queue(bus: TaskBus) -> None:
    sample.record.delay("notes", f"postgresql://ann:{SECRET}@db/shop")
    for output in FORMATS:
        done = taskbus("queues", "peek", "default", "-o", output)
        assert "postgresql://ann:***@db/shop" in done.out and SECRET not in done.out
