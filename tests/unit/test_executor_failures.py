"""A failure as data: readable, bounded in size, and got from the most hostile exception."""

from collections.abc import Callable

import msgpack
import pytest

from taskbus import TaskBus
from taskbus.outcome import Dead, Failure, Retrying
from taskbus.wire import compact
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.failing import MAX_MESSAGE, MAX_TRACEBACK, failure_of
from taskbus.worker.runner.protocol import Job, pack_report, unpack_report


def failure(body: Callable[[], object]) -> Failure:
    try:
        body()
    except BaseException as error:
        return failure_of(error)
    raise AssertionError("it did not raise")


def test_the_traceback_shows_the_users_frames_and_none_of_ours(app: TaskBus) -> None:
    @app.task
    def deep() -> None:
        deeper()

    def deeper() -> None:
        raise ValueError("at the bottom")

    job = Job(1, 1, "default", 0, compact.encode(deep.message((), {})))
    report = Executor(app.tasks, [], 1 << 20).execute(job)
    assert isinstance(report.outcome, Retrying | Dead)
    text = report.outcome.failure.traceback
    assert "in deep\n" in text
    assert "in deeper\n" in text
    assert "executor.py" not in text
    assert text.startswith("Traceback (most recent call last):\n")


def test_causes_and_groups_are_shown() -> None:
    def body() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError("one"), TypeError("two")]) from error

    text = failure(body).traceback
    for part in (
        "KeyError: 'first'",
        "direct cause",
        "several (2 sub-exceptions)",
        "ValueError: one",
        "TypeError: two",
    ):
        assert part in text


def test_a_long_message_keeps_both_ends() -> None:
    def body() -> None:
        raise ValueError("begin" + "x" * 1_000_000 + "end")

    described = failure(body)
    assert described.message.startswith("begin")
    assert described.message.endswith("end")
    assert len(described.message) < MAX_MESSAGE + 100
    assert len(described.traceback) < MAX_TRACEBACK + 100
    assert "characters left out" in described.message


def test_a_recursion_without_end_is_described() -> None:
    def body() -> None:
        body()

    described = failure(body)
    assert described.type == "builtins.RecursionError"
    assert len(described.traceback) < 2_000


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_exception_that_cannot_be_printed_is_described_all_the_same(error: type[BaseException]) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise error("not even that")

        __repr__ = __str__

    def body() -> None:
        raise Hostile

    described = failure(body)
    assert described.type.endswith("Hostile")
    assert described.message == f"<its __str__ raised builtins.{error.__name__}>"
    assert "Hostile" in described.traceback


def test_text_that_is_no_unicode_can_still_be_sent() -> None:
    def body() -> None:
        raise ValueError("half a pair: \ud800")

    described = failure(body)
    msgpack.packb([described.message, described.traceback])
    assert described.message == "half a pair: \\ud800"


def test_a_report_survives_the_way_to_the_supervisor(app: TaskBus) -> None:
    @app.task
    def fails() -> None:
        raise ValueError("über")

    job = Job(1, 1, "default", 0, compact.encode(fails.message((), {})))
    report = Executor(app.tasks, [], 1 << 20).execute(job)
    assert unpack_report(msgpack.unpackb(msgpack.packb(pack_report(report)))) == report
